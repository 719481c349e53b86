// The MLS engine, over both Primitives.
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { concat, utf8 } from '../../protocols/base/bytes.ts'
import { makeMlsEngine } from '../../protocols/group/mls/engine.ts'
import { selfTest } from '../../protocols/group/mls/self-test.ts'
import { vec } from '../../protocols/group/tls.ts'
import { native } from '../../src/crypto/native.ts'
import { portable } from '../../src/crypto/portable.ts'
import { engineConformance } from '../contract/mls-engine.ts'
import { NOW, Room, codeOf } from '../support/mls-room.ts'
import { seededBytes } from '../support/seeded.ts'

engineConformance('group · engine', (seed) =>
  makeMlsEngine({ primitives: native, random: seededBytes(seed) }),
)

const test = suite('group · engine self-test')

for (const [name, primitives] of Object.entries({ native, portable })) {
  test(`a removed member is out: ${name}`, async () => {
    const random = seededBytes(`self-test ${name}`)
    const engine = makeMlsEngine({ primitives, random })
    await selfTest({ engine, primitives, random, nowMs: NOW })
  })
}

test('native and portable Primitives make the same bytes', async () => {
  const histories: unknown[] = []
  for (const primitives of [native, portable]) {
    const engine = makeMlsEngine({ primitives, random: seededBytes('differential') })
    const room = await Room.of(engine, 'alice', 'bob', 'carol')
    const added = room.last
    const removed = await room.commit('bob', { kind: 'remove', peer: Room.peer('alice').peer })
    const resynced = await room.resync('carol', 'bob')
    const sealed = await engine.seal(room.at('carol'), utf8('same'), new Uint8Array(0))
    const commits = [added?.commit, removed.commit, resynced.commit]
    histories.push([commits, added?.welcomes, sealed.message, engine.info(room.at('bob'))])
  }
  assert.equal(histories[0], histories[1])
})

test('a tree wider than any group is refused', async () => {
  const room = await Room.of(makeMlsEngine({ primitives: native, random: seededBytes('w') }), 'a')
  const own = await room.keyPackage('bob')
  const add = { kind: 'add', keyPackage: own.keyPackage } as const
  const pending = await room.propose('a', add)
  const welcome = pending.welcomes[0]?.welcome ?? new Uint8Array(0)
  const { secret } = own
  const node = room.engine.tree(room.at('a')).subarray(2)
  const tree = vec(concat(new Uint8Array(4_096), node))
  const joined = await room.engine.join({ welcome, secret, tree, self: Room.peer('bob') })
  assert.is(codeOf(joined), 'GROUP_COMMIT_INVALID')
})

test.run()
