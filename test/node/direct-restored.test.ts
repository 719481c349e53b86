// A home restored from a backup: its old sessions never send again, wherever the first starts after it are killed.
// A key and a nonce used twice would show two plaintexts' difference (direct §13, 13: "Restored backup reuses chain keys").
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { cpSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import type { PeerId } from '../../protocols/base/ids.ts'
import type { Session } from '../../protocols/direct/session.ts'
import { loadConversation } from '../../src/node/conversation-rows.ts'
import type { Home } from '../../src/store/home.ts'
import type { OpenedStore } from '../../src/store/open.ts'
import type { Store } from '../../src/store/types.ts'
import { introduce, say, startDirect, texts, until } from '../support/direct-node.ts'
import type { DirectNode, DirectNodeOptions } from '../support/direct-node.ts'
import { rejection } from '../support/hosts.ts'
import { openHome, Scratch } from '../support/store.ts'

const test = suite('direct messages · restored backup')
const child = new URL('../support/store-child.ts', import.meta.url).pathname

async function sessionsOf(store: Store, peer: PeerId): Promise<readonly Session[]> {
  return (await loadConversation(store, peer, 'contact')).sessions.list
}

/** Alice on a real database, settled once she has started, as a node does. */
async function startAlice(
  home: Home,
  options: DirectNodeOptions = {},
): Promise<DirectNode & { readonly opened: OpenedStore }> {
  const opened = await openHome(home)
  try {
    const { store, regressed } = opened
    const alice = await startDirect('alice', { store, regressed, ...options })
    await opened.settle()
    return { ...alice, opened }
  } catch (error) {
    await opened.store.close()
    throw error
  }
}

/** A start that ends by SIGKILL once the database is open, and before anything followed from that. */
async function killAfterOpening(home: Home): Promise<void> {
  const process_ = spawn(process.execPath, [child, home.path, 'hold'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  await once(process_.stdout, 'data')
  process_.kill('SIGKILL')
  await once(process_, 'close')
}

/** Opens the home over a store that fails from its n-th commit on, as if the process had ended there. */
async function failAfter(home: Home, commits: number): Promise<void> {
  const { store, regressed } = await openHome(home)
  assert.is(regressed, true)
  let left = commits
  const failing: Store = {
    get: (table, key) => store.get(table, key),
    rows: (table, range) => store.rows(table, range),
    keys: (table, range) => store.keys(table, range),
    close: () => store.close(),
    commit: (ops) => (left-- > 0 ? store.commit(ops) : Promise.reject(new Error('power is gone'))),
  }
  const starting = startDirect('alice', { store: failing, regressed })
  const { message } = await rejection(starting)
  assert.match(message, 'power is gone')
  await store.close()
}

interface Story {
  readonly home: Home
  readonly bob: DirectNode
  readonly carol: DirectNode
  /** Of the backup: the sessions with Bob. */
  readonly old: readonly Session[]
}

/** Alice talks with Bob and Carol; a backup of her database is older than what she has sent since. */
async function withRestoredHome(story: (parts: Story) => Promise<void>): Promise<void> {
  using scratch = new Scratch()
  const home = scratch.home()
  const backup = join(scratch.path, 'backup')
  const bob = await startDirect('bob', { open: true })
  const carol = await startDirect('carol', { open: true })
  const peers = [bob.host.peerId, carol.host.peerId]
  const talk = async (text: string): Promise<void> => {
    const alice = await startAlice(home, { open: true })
    await introduce(alice, bob, carol)
    for (const peer of peers) await alice.messages.send(peer, say(text), { until: 'delivered' })
    await alice.stop()
  }
  try {
    await talk('first')
    cpSync(home.database, backup, { recursive: true })
    await talk('not in the backup')
    rmSync(home.database, { recursive: true })
    cpSync(backup, home.database, { recursive: true })
    const kept = join(scratch.path, 'kept')
    cpSync(home.path, kept, { recursive: true })
    const before = await openHome(scratch.home('kept'))
    const old = await sessionsOf(before.store, bob.host.peerId)
    await before.store.close()
    assert.ok(old.some(({ state }) => state === 'established' || state === 'initiating'))
    await story({ home, bob, carol, old })
  } finally {
    await bob.stop()
    await carol.stop()
  }
}

/** What holds of every ordinary start after the restored one. */
async function assertHealed({ home, bob, carol, old }: Story, text: string): Promise<void> {
  const peer = bob.host.peerId
  let beforeStart: readonly Session[] = []
  const alice = await startAlice(home, {
    open: true,
    prepare: async (_direct, { store }) => {
      beforeStart = await sessionsOf(store, peer)
    },
  })
  try {
    const known = new Set<string | undefined>(old.map(({ id }) => id))
    const oldOnes = beforeStart.filter(({ id }) => known.has(id))
    assert.is(oldOnes.length, old.length, 'they still open what is under way')
    assert.ok(
      oldOnes.every(({ state }) => state === 'restored'),
      'retired before a message can come',
    )
    await introduce(alice, bob, carol)
    for (const to of [bob, carol]) {
      await alice.messages.send(to.host.peerId, say(text), { until: 'delivered' })
    }
    await bob.messages.send(alice.host.peerId, say(`re: ${text}`), { until: 'delivered' })
    await until('arrival', async () => (await texts(alice)).includes(`re: ${text}`))
    const after = await sessionsOf(alice.store, peer)
    assert.not.ok(known.has(after[0]?.id), 'a new session sends')
    for (const one of old) {
      const now = after.find(({ id }) => id === one.id)
      assert.equal(now?.ratchet.sending, one.ratchet.sending, 'not a single key of an old chain')
    }
  } finally {
    await alice.stop()
  }
}

test('old sessions are retired before anything is served, and a later start is an ordinary one', () =>
  withRestoredHome(async (story) => {
    await assertHealed(story, 'after the restore')
    const { store, regressed } = await openHome(story.home)
    assert.is(regressed, false)
    const fresh = (await sessionsOf(store, story.bob.host.peerId))[0]
    await store.close()
    await assertHealed(story, 'once more')
    const again = await openHome(story.home)
    const still = (await sessionsOf(again.store, story.bob.host.peerId))[0]
    await again.store.close()
    assert.is(still?.id, fresh?.id, 'the session that replaced them goes on')
  }))

test('a start that is killed after opening the database, twice, forgets nothing', () =>
  withRestoredHome(async (story) => {
    await killAfterOpening(story.home)
    await killAfterOpening(story.home)
    await assertHealed(story, 'third start')
  }))

test('a start that fails at any commit of the retirement leaves it to the next one', () =>
  withRestoredHome(async (story) => {
    for (const commits of [0, 1, 2, 3]) await failAfter(story.home, commits)
    await assertHealed(story, 'at last')
  }))

test('a start that ends before it is settled retires again, and so do two', () =>
  withRestoredHome(async (story) => {
    for (let start = 0; start < 2; start++) {
      const { store, regressed } = await openHome(story.home)
      assert.is(regressed, true)
      await (await startDirect('alice', { store, regressed })).stop()
    }
    await assertHealed(story, 'third start')
  }))

test.run()
