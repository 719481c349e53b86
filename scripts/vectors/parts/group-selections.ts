// Trees of records with votes, the tip that they select, and what is void in them. The answers are stated here by name,
// from spec.md §4.2, not taken from the code under test.
import { concat, formatHex, u8, utf8 } from '../../../protocols/base/bytes.ts'
import type { Bytes } from '../../../protocols/base/bytes.ts'
import { peerIdFromPublicKey } from '../../../protocols/base/ids.ts'
import type { PeerId } from '../../../protocols/base/ids.ts'
import { genesisId, NO_PARENT, signRecord } from '../../../protocols/group/commit-record.ts'
import { encodeEntry } from '../../../protocols/group/frame.ts'
import { toCommitId, toGroupId } from '../../../protocols/group/ids.ts'
import type { CommitId, CommitRecord, Policy } from '../../../protocols/group/types.ts'
import { policyHash, rosterHash } from '../../../protocols/group/view.ts'
import { portable } from '../../../src/crypto/portable.ts'

type Name = 'alice' | 'bob' | 'carol' | 'dave' | 'erin'

const NAMES: readonly Name[] = ['alice', 'bob', 'carol', 'dave', 'erin']
const NOW = 1_798_761_600_000
const seed = (purpose: string): Bytes => portable.sha256(utf8(`group selections ${purpose}`))
const GROUP = toGroupId(seed('group'))
const BODY = seed('sealed body')
const secretOf = (name: Name): Bytes => seed(name)
const peerOf = (name: Name): PeerId => peerIdFromPublicKey(portable.signPublic(secretOf(name)))
const refOf = (name: Name) => ({ peer: peerOf(name), gen: 1 })

interface Changes {
  readonly adds?: readonly Name[]
  readonly removes?: readonly Name[]
  /** All admins after it, in rank order. */
  readonly admins?: readonly Name[]
  /** The removal on another branch that those of this one cite. */
  readonly cites?: string
}

interface Made {
  readonly record: CommitRecord
  readonly bytes: Bytes
  readonly signed: Bytes
  readonly roster: ReadonlyMap<PeerId, number>
  readonly policy: Policy
}

/** A tree that grows record by record, by name. Where names are compared, `a…` has the smaller commit id than `b…`. */
class Tree {
  readonly #made = new Map<string, Made>()
  readonly #votes: {
    peer: PeerId
    gen: number
    seq: number
    commitId: CommitId
    isDouble?: true
  }[] = []

  /** Alice founds it and adds all others. */
  constructor(admins: readonly Name[]) {
    const policy: Policy = { changes: 0, admins: [refOf('alice')], name: 'trees' }
    const roster = new Map([[peerOf('alice'), 1]])
    const unnamed = {
      kind: 'genesis',
      groupId: GROUP,
      parent: NO_PARENT,
      epoch: 0,
      author: refOf('alice'),
      seq: NOW,
      adds: [],
      removes: [],
      policy,
      rosterHash: rosterHash(portable, roster),
      policyHash: policyHash(portable, policy),
      sealedHash: new Uint8Array(32),
      bodyBytes: 0,
      groupInfoHash: seed('genesis'),
    } as const
    this.#keep(
      'genesis',
      { ...unnamed, commitId: genesisId(portable, unnamed) },
      { roster, policy },
    )
    this.grow('root', 'genesis', 'alice', { adds: NAMES.slice(1), admins })
  }

  grow(name: string, on: string, by: Name, changes: Changes = {}): this {
    const parent = this.#demand(on)
    const roster = new Map(parent.roster)
    const { adds = [], removes = [], admins, cites } = changes
    const cited = cites === undefined ? undefined : this.#demand(cites).signed
    const evidence = cited && { evidence: portable.sha256(cited) }
    for (const one of removes) roster.delete(peerOf(one))
    for (const one of adds) roster.set(peerOf(one), 1)
    const left = parent.policy.admins.filter(({ peer }) => roster.has(peer))
    const isNew = admins !== undefined || left.length < parent.policy.admins.length
    const policy: Policy = isNew
      ? {
          ...parent.policy,
          changes: parent.policy.changes + 1,
          admins: admins === undefined ? left : admins.map(refOf),
        }
      : parent.policy
    const record: CommitRecord = {
      kind: 'commit',
      groupId: GROUP,
      parent: parent.record.commitId,
      commitId: toCommitId(concat(u8(name.charCodeAt(0)), seed(name).slice(1))),
      epoch: parent.record.epoch + 1,
      author: refOf(by),
      seq: NOW + 1,
      adds: adds.map((one) => {
        return { member: refOf(one), keyPackageRef: seed(`key package ${one}`), overridden: 0 }
      }),
      removes: removes.map((one) => ({ member: refOf(one), ...evidence })),
      ...(isNew && { policy }),
      rosterHash: rosterHash(portable, roster),
      policyHash: policyHash(portable, policy),
      sealedHash: portable.sha256(BODY),
      bodyBytes: BODY.length,
      groupInfoHash: seed(name),
    }
    this.#keep(name, record, { roster, policy }, cited === undefined ? [] : [cited])
    return this
  }

  vote(by: Name, on: string, isDouble?: true): this {
    const { commitId } = this.#demand(on).record
    const vote = { ...refOf(by), seq: NOW + 2, commitId }
    this.#votes.push(isDouble === true ? { ...vote, isDouble } : vote)
    return this
  }

  selects(comment: string, tip: string, voided: readonly string[] = []): unknown {
    return {
      comment,
      records: [...this.#made.values()].map(({ bytes }) => formatHex(bytes)),
      votes: this.#votes,
      tip: this.#demand(tip).record.commitId,
      voided: voided.map((name) => this.#demand(name).record.commitId),
    }
  }

  #keep(
    name: string,
    record: CommitRecord,
    after: Pick<Made, 'roster' | 'policy'>,
    evidence: readonly Bytes[] = [],
  ): void {
    const author = NAMES.find((one) => peerOf(one) === record.author.peer) ?? 'alice'
    const signed = signRecord(portable, secretOf(author), record)
    const body = record.kind === 'genesis' ? {} : { body: BODY }
    const bytes = encodeEntry({ record: signed, evidence, ...body })
    this.#made.set(name, { record, bytes, signed, ...after })
  }

  #demand(name: string): Made {
    const made = this.#made.get(name)
    if (made === undefined) throw new Error(`no record ${name}`)
    return made
  }
}

/** Every case. */
export function selections(): unknown[] {
  const one = (): Tree => new Tree(['alice', 'bob'])
  const fork = (): Tree => one().grow('a', 'root', 'carol').grow('b', 'root', 'dave')
  const expelled = (): Tree =>
    one()
      .grow('b removes', 'root', 'alice', { removes: ['carol'] })
      .grow('a', 'root', 'carol')
  const mutual = (): Tree =>
    one()
      .grow('alice removes', 'root', 'alice', { removes: ['bob'] })
      .grow('bob removes', 'root', 'bob', { removes: ['alice'] })
  return [
    one().selects('without a fork, the last', 'root'),
    fork().selects('without votes, the smaller id', 'a'),
    fork().vote('erin', 'b').selects('one vote is more than none', 'b'),
    fork()
      .vote('erin', 'b')
      .vote('carol', 'a')
      .selects('as many votes on both sides: the smaller id', 'a'),
    fork()
      .grow('b2', 'b', 'dave')
      .vote('erin', 'b2')
      .selects('votes count for what they hang on', 'b2'),
    fork().vote('erin', 'b', true).selects('a double vote counts nothing', 'a'),
    expelled().selects(
      'what the removed made beside its removal is void, without votes',
      'b removes',
      ['a'],
    ),
    expelled()
      .grow('a2', 'a', 'dave')
      .vote('dave', 'a2')
      .selects('and with some votes: rank decides while neither has a majority', 'b removes', [
        'a',
        'a2',
      ]),
    expelled()
      .grow('a2', 'a', 'dave')
      .vote('dave', 'a2')
      .vote('erin', 'a2')
      .vote('bob', 'a2')
      .selects('but not what most voted for', 'a2'),
    one()
      .grow('a', 'root', 'carol')
      .grow('removes', 'a', 'alice', { removes: ['carol'] })
      .grow('b', 'root', 'dave')
      .vote('dave', 'b')
      .vote('erin', 'b')
      .selects('what the removed made before its removal is not void', 'b'),
    mutual().selects(
      'of two admins that remove each other the higher rank stays',
      'alice removes',
      ['bob removes'],
    ),
    mutual()
      .vote('carol', 'bob removes')
      .vote('dave', 'bob removes')
      .vote('erin', 'bob removes')
      .selects('unless more than half voted for the other', 'bob removes', ['alice removes']),
    mutual()
      .vote('carol', 'bob removes')
      .vote('dave', 'bob removes')
      .selects('half is not more than half', 'alice removes', ['bob removes']),
    mutual()
      .grow('third', 'bob removes', 'bob', { removes: ['carol'] })
      .grow('a by carol', 'root', 'carol')
      .vote('carol', 'a by carol')
      .selects('a void removal voids nothing', 'a by carol', ['bob removes', 'third']),
    mutual()
      .grow('a', 'root', 'alice')
      .grow('cites', 'a', 'carol', { removes: ['alice'], cites: 'bob removes' })
      .vote('bob', 'cites')
      .vote('carol', 'cites')
      .vote('dave', 'cites')
      .selects('as does one that cites another, with more than half', 'cites', ['alice removes']),
    one()
      .grow('a', 'root', 'alice')
      .grow('bob removes', 'a', 'bob', { removes: ['alice'] })
      .grow('b', 'root', 'dave')
      .grow('cites', 'b', 'carol', { removes: ['alice'], cites: 'bob removes' })
      .vote('bob', 'cites')
      .vote('carol', 'cites')
      .vote('dave', 'cites')
      .selects('which spares what lies before the cited one', 'cites'),
  ]
}
