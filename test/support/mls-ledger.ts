// What of the MLS working group's vectors runs, and what cannot, with its reason. Test files count each case they
// run and settle their count against this ledger, so that nothing is skipped in silence; spec.md §9 shows the gaps.
import { existsSync } from 'node:fs'
import * as assert from 'uvu/assert'
import { vectorsFolder } from './vectors.ts'

/** Who runs a case: what our engine is made of, or the entry points of ts-mls (suite 1 over our Primitives). */
export type Runner = 'engine' | 'ts-mls'

/** Cases of an operation that a runner does not run. */
interface Gap {
  readonly runner: Runner
  readonly reason: string
  /** Cases of each suite; all of them where absent. */
  readonly cases?: number
}

interface Operation {
  /** Cases of each suite, where the operation is not part of every case of the file. */
  readonly cases?: number
  readonly gaps?: readonly Gap[]
}

interface FileLedger {
  /** Cipher suites of its cases; 0 where cases name none. */
  readonly suites: readonly number[]
  /** Cases of each suite. */
  readonly cases: number
  readonly operations: Readonly<Record<string, Operation>>
}

const ALL_SUITES: readonly number[] = [1, 2, 3, 4, 5, 6, 7]
const NO_SUITE: readonly number[] = [0]
/** Suites whose optional peers of ts-mls (`@hpke/chacha20poly1305`, `@hpke/dhkem-x448`) are not installed. */
export const SUITES_WITHOUT_PROVIDER: readonly number[] = [3, 4, 6]

const gap = (
  runner: Runner,
  reason: string,
  cases?: number,
): { readonly gaps: readonly Gap[] } => ({
  gaps: [cases === undefined ? { runner, reason } : { runner, reason, cases }],
})
const RUN: Operation = {}
const NO_PSK = gap('engine', 'pre-shared keys are outside the profile')
const NO_PROPOSAL = gap('engine', 'proposals travel inside commits only')
const NO_PRIVATE_COMMIT = gap('engine', 'commits are PublicMessages')
const FOREIGN = gap(
  'engine',
  'credentials that are no peer IDs, and groups without a policy: refused',
)
const NOT_MADE = gap('ts-mls', 'nothing is made with ts-mls in the program')

/** Every file. */
export const LEDGER: Readonly<Record<string, FileLedger>> = {
  'crypto-basics': {
    suites: ALL_SUITES,
    cases: 1,
    operations: {
      ref_hash: gap(
        'engine',
        'its label lacks the prefix `MLS 1.0 `, which ours always has: welcome',
      ),
      expand_with_label: RUN,
      derive_secret: RUN,
      derive_tree_secret: RUN,
      sign_with_label: RUN,
      encrypt_with_label: RUN,
    },
  },
  deserialization: {
    suites: NO_SUITE,
    cases: 14,
    operations: {
      length: gap('engine', 'a vector of 2^30 - 1 octets: refused by its bound', 1),
    },
  },
  'key-schedule': {
    suites: ALL_SUITES,
    cases: 1,
    operations: {
      joiner_secret: RUN,
      welcome_secret: gap('engine', 'every case has a pre-shared key: outside the profile'),
      'secrets of an epoch': RUN,
      resumption_psk: gap('engine', 'not derived: nothing here resumes'),
      external_pub: RUN,
      exporter: RUN,
    },
  },
  'message-protection': {
    suites: ALL_SUITES,
    cases: 1,
    operations: {
      proposal_pub: NO_PROPOSAL,
      proposal_priv: NO_PROPOSAL,
      commit_pub: RUN,
      commit_priv: NO_PRIVATE_COMMIT,
      application_priv: RUN,
      'application protected here': NOT_MADE,
    },
  },
  messages: {
    suites: NO_SUITE,
    cases: 300,
    operations: {
      mls_welcome: RUN,
      mls_group_info: RUN,
      mls_key_package: RUN,
      ratchet_tree: RUN,
      group_secrets: RUN,
      add_proposal: RUN,
      update_proposal: RUN,
      remove_proposal: RUN,
      pre_shared_key_proposal: RUN,
      re_init_proposal: RUN,
      external_init_proposal: RUN,
      group_context_extensions_proposal: RUN,
      commit: RUN,
      public_message_application: RUN,
      public_message_proposal: RUN,
      public_message_commit: RUN,
      private_message: RUN,
    },
  },
  'passive-client-handling-commit': {
    suites: ALL_SUITES,
    cases: 13,
    operations: { 'whole client': FOREIGN },
  },
  'passive-client-random': { suites: [1], cases: 1, operations: { 'whole client': FOREIGN } },
  'passive-client-welcome': {
    suites: ALL_SUITES,
    cases: 8,
    operations: { 'whole client': FOREIGN },
  },
  psk_secret: { suites: ALL_SUITES, cases: 11, operations: { psk_secret: NO_PSK } },
  'secret-tree': {
    suites: ALL_SUITES,
    cases: 3,
    operations: {
      sender_data: gap('engine', 'derived inside sealing and opening only: message-protection'),
      application: RUN,
      handshake: NO_PRIVATE_COMMIT,
    },
  },
  'transcript-hashes': {
    suites: ALL_SUITES,
    cases: 1,
    operations: { confirmed: RUN, interim: RUN, confirmation_tag: RUN },
  },
  'tree-math': { suites: NO_SUITE, cases: 10, operations: { 'every node': RUN } },
  'tree-operations': {
    suites: [1],
    cases: 5,
    operations: {
      add: { cases: 2 },
      remove: { cases: 2 },
      update: { cases: 1, ...gap('engine', 'Update proposals are outside the profile') },
    },
  },
  'tree-validation': {
    suites: ALL_SUITES,
    cases: 14,
    operations: { tree_hashes: RUN, resolutions: RUN, parent_hashes: RUN, signatures: RUN },
  },
  treekem: {
    suites: ALL_SUITES,
    cases: 11,
    operations: { 'paths given': RUN, 'paths made here': NOT_MADE },
  },
  welcome: {
    suites: ALL_SUITES,
    cases: 1,
    operations: { group_secrets: RUN, signature: RUN, confirmation_tag: RUN },
  },
}

/** Cases of each operation that a runner has to run, by `operation · suite`; those that it need not are absent. */
export function expectedOf(file: string, runner: Runner): Record<string, number> {
  const expected: Record<string, number> = {}
  const ledger = LEDGER[file]
  assert.ok(ledger, `${file} is in the ledger`)
  for (const [operation, { cases = ledger.cases, gaps = [] }] of Object.entries(
    ledger.operations,
  )) {
    const gone = gaps.find((one) => one.runner === runner)
    const left = gone === undefined ? cases : cases - (gone.cases ?? cases)
    for (const suite of ledger.suites) {
      const isAbsent = runner === 'engine' ? suite > 1 : SUITES_WITHOUT_PROVIDER.includes(suite)
      if (left > 0 && !isAbsent) expected[`${operation} · ${suite}`] = left
    }
  }
  return expected
}

/** What a test file has run. */
export class Tally {
  readonly #runner: Runner
  readonly #counts = new Map<string, Record<string, number>>()

  constructor(runner: Runner) {
    this.#runner = runner
  }

  /** Notes that a case's operations ran and held. */
  ran(file: string, suite: number, ...operations: readonly string[]): void {
    const counts = this.#counts.get(file) ?? {}
    this.#counts.set(file, counts)
    for (const operation of operations) {
      const key = `${operation} · ${suite}`
      counts[key] = (counts[key] ?? 0) + 1
    }
  }

  /** Fails unless exactly those cases of the files ran that the ledger says. */
  settle(files: readonly string[]): void {
    if (!existsSync(`${vectorsFolder()}/mls`)) return // printed as skipped, file by file
    for (const file of files) {
      assert.equal(
        sorted(this.#counts.get(file) ?? {}),
        sorted(expectedOf(file, this.#runner)),
        file,
      )
    }
    const others = [...this.#counts.keys()].filter((file) => !files.includes(file))
    assert.equal(others, [], 'what ran is settled')
  }
}

function sorted(counts: Record<string, number>): [string, number][] {
  return Object.entries(counts).sort(([a], [b]) => (a < b ? -1 : 1))
}

/** The gaps as rows of spec.md §9: runner, file, operation, cases of a suite, reason. */
export function gapRows(): string[][] {
  const rows = [
    ['engine', 'all', 'all', 'suites 2 to 7', 'suite 1 is the only one of the profile'],
    ['ts-mls', 'all', 'all', 'suites 3, 4, 6', 'optional peers of ts-mls that are not installed'],
  ]
  for (const [file, { operations, cases }] of Object.entries(LEDGER)) {
    for (const [operation, { cases: own = cases, gaps = [] }] of Object.entries(operations)) {
      for (const { runner, reason, cases: gone = own } of gaps) {
        rows.push([runner, file, operation, `${gone} of ${own}`, reason])
      }
    }
  }
  return rows
}
