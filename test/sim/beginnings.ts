// How a simulated member's group begins: founded, or joined by a JoinPackage, as in src/node/groups.ts.
import { isWayIn } from '../../protocols/group/access.ts'
import type { Bytes } from '../../protocols/base/bytes.ts'
import { formatHex } from '../../protocols/base/bytes.ts'
import type { Step } from '../../protocols/base/step.ts'
import {
  firstPolicy,
  foundGroup,
  joinGroup,
  makeGenesis,
  readJoinPackage,
} from '../../protocols/group/founding.ts'
import { idBytes } from '../../protocols/group/ids.ts'
import { decodeJoinPackage } from '../../protocols/group/join-package.ts'
import { describeEpoch } from '../../protocols/group/jobs.ts'
import type { OwnKeyPackage } from '../../protocols/group/mls-engine.ts'
import { encodePolicy } from '../../protocols/group/policy.ts'
import type { GroupEffect, GroupState } from '../../protocols/group/state.ts'
import type { Member } from './cast.ts'
import { Violation } from './cast.ts'

type Begun = Step<GroupState, GroupEffect>

/** Founds the group of a world. */
export async function foundBy(member: Member): Promise<Begun> {
  const { engine, identity, nowMs, kit, world } = member
  const { groupId } = world
  const policy = firstPolicy(member.peer, 'sim')
  const made = { groupId: idBytes(groupId), self: identity, policy: encodePolicy(policy), nowMs }
  const handle = await engine.create(made)
  const { groupInfoHash } = engine.info(handle)
  const genesis = makeGenesis(kit, { groupId, policy, groupInfoHash, nowMs })
  const epoch = await describeEpoch(engine, handle, genesis.commitId)
  const founded = foundGroup(kit, genesis.bytes, epoch, nowMs)
  if (!founded.ok) throw new Error(founded.code)
  return founded.value
}

/** Joins by a JoinPackage; undefined where it is for a branch that is known, or for keys that are not there. */
export async function joinBy(
  member: Member,
  bytes: Bytes,
  keyPackages: ReadonlyMap<string, OwnKeyPackage>,
): Promise<Begun | undefined> {
  const { engine, identity, kit, name, state: known } = member
  const decoded = decodeJoinPackage(bytes)
  if (!decoded.ok) throw new Error(decoded.code)
  const p = decoded.value
  const read = readJoinPackage(kit, p)
  if (!read.ok) throw new Violation('welcome safety', `${name} is given no way in: ${read.code}`)
  const { record } = read.value
  if (known !== undefined && !isWayIn(known, record)) return undefined
  const own = record.adds.find((add) => add.member.peer === member.peer)
  const keyPackage = own && keyPackages.get(formatHex(own.keyPackageRef))
  const { trees } = member.world.ledger
  const tree = p.tree.length > 0 ? p.tree : trees.get(formatHex(p.treeHash))
  if (keyPackage === undefined || tree === undefined) return undefined
  const { welcome } = p
  const joined = await engine.join({ welcome, secret: keyPackage.secret, tree, self: identity })
  if (!joined.ok) throw new Violation('welcome safety', `${name} cannot join: ${joined.code}`)
  const epoch = await describeEpoch(engine, joined.value, record.commitId)
  const begun = joinGroup(kit, p, epoch, member.nowMs)
  if (!begun.ok) throw new Violation('welcome safety', `${name} cannot begin: ${begun.code}`)
  member.world.note(`${name} joins at ${record.commitId.slice(0, 6)} (${record.epoch})`)
  return begun.value
}
