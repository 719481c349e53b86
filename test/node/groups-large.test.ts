// Inviting many in one commit, through the service that agents use.
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { nodeOf } from '../../protocols/group/chain.ts'
import { decodeJoinPackage } from '../../protocols/group/join-package.ts'
import { until } from '../support/direct-node.ts'
import { startCrowd } from '../support/crowd.ts'

const test = suite('node · large groups')
const INVITED = 250
/** Beyond what the 60,000 octets of a JoinPackage hold. */
const TOO_MANY = 560

test('250 peers are invited by one commit, and each is handed a JoinPackage of its own', async () => {
  await using crowd = await startCrowd(INVITED)
  const { groups, running, strangers, handoffs, engine } = crowd
  const { groupId } = await groups.create('everyone')
  const peers = strangers.map(({ peer }) => peer)
  const { added, epoch } = await groups.invite(groupId, peers)
  assert.is(added.length, INVITED)
  assert.is(epoch, 1)
  await until('all are handed over', () => handoffs.length >= INVITED)

  const state = running.get(groupId)?.state
  assert.ok(state)
  assert.is(state.chain.nodes.size, 2) // the genesis, and one commit
  assert.is(nodeOf(state.chain, state.tip).view.roster.size, INVITED + 1)
  assert.equal(handoffs.map(({ to }) => to).sort(), [...peers].sort())
  const packages = handoffs.map(({ content }) => decodeJoinPackage(content))
  assert.is(new Set(packages.map((one) => one.ok && String(one.value.welcome))).size, INVITED)
  assert.is(new Set(packages.map((one) => one.ok && String(one.value.record))).size, 1)

  // The tree is too large to go along: whoever joins fetches it by its hash.
  const last = strangers.at(-1)
  const mine = packages[handoffs.findIndex(({ to }) => to === last?.peer)]
  assert.ok(last !== undefined && mine?.ok === true)
  const tree = await running.get(groupId)?.readTree(mine.value.treeHash)
  assert.ok(tree)
  assert.is(mine.value.tree.length, 0)
  const { welcome } = mine.value
  const joined = await engine.join({ welcome, secret: last.own.secret, tree, self: last })
  assert.ok(joined.ok)
  const authenticator = (await groups.info(groupId)).authenticator
  const theirs = engine.info(joined.value).authenticator
  assert.is(Buffer.from(theirs).toString('hex'), authenticator)
})

test('more peers than one JoinPackage can name are invited by several commits', async () => {
  await using crowd = await startCrowd(TOO_MANY)
  const { groups, running, strangers, handoffs } = crowd
  const { groupId } = await groups.create('everyone')
  const { added } = await groups.invite(
    groupId,
    strangers.map(({ peer }) => peer),
  )
  assert.is(added.length, TOO_MANY)
  await until('all are handed over', () => new Set(handoffs.map(({ to }) => to)).size >= TOO_MANY)
  const state = running.get(groupId)?.state
  assert.ok(state)
  assert.is(nodeOf(state.chain, state.tip).view.roster.size, TOO_MANY + 1)
  assert.ok(state.chain.nodes.size > 2)
})

test.run()
