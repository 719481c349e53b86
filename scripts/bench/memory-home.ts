// A home with many sessions and many messages waiting, written through the code that a node writes its rows with.
// One handshake serves all peers: rows are as many and as long as if each had made its own.
import type { Bytes } from '../../protocols/base/bytes.ts'
import { formatHex } from '../../protocols/base/bytes.ts'
import { peerIdFromPublicKey, peerIdToBytes } from '../../protocols/base/ids.ts'
import type { PeerId } from '../../protocols/base/ids.ts'
import { toTimeMs } from '../../protocols/base/time.ts'
import type { TimeMs } from '../../protocols/base/time.ts'
import { newConversation, resumeConversation } from '../../protocols/direct/conversation.ts'
import type { Letter, SealedLetter } from '../../protocols/direct/conversation.ts'
import type { Sessions } from '../../protocols/direct/session.ts'
import type { EnvelopeId, MessageId } from '../../protocols/direct/types.ts'
import { native } from '../../src/crypto/native.ts'
import { randomBytes } from '../../src/crypto/random.ts'
import { openContactBook } from '../../src/node/contacts.ts'
import { conversationRows } from '../../src/node/conversation-rows.ts'
import { openEventLog } from '../../src/node/events.ts'
import { openInbox } from '../../src/node/inbox.ts'
import { openNodeStore } from '../../src/node/node-store.ts'
import { locateHome } from '../../src/store/home.ts'
import type { Op } from '../../src/store/types.ts'
import { makePair, say } from '../../test/support/direct-cast.ts'

const CONTENT_BYTES = 256
const PEERS_PER_COMMIT = 100

/** How much waits in the home. */
export interface HomeSize {
  readonly peers: number
  /** Of each peer, in the outbox. */
  readonly outgoing: number
  /** Of each peer, in the inbox. */
  readonly incoming: number
}

interface Sample {
  readonly sessions: Sessions
  readonly sealed: SealedLetter
}

/** An established session, and a letter sealed on it. */
function makeSample(): Sample {
  const [alice, bob] = makePair(native, 'memory')
  alice.initiate('pair')
  for (const [from, to] of [
    [alice, bob],
    [bob, alice],
  ] as const) {
    to.open(from.seal(say(1)).envelope)
  }
  const { envelope, envelopeId, at } = alice.seal(say(2, new Uint8Array(CONTENT_BYTES)))
  const sealed = { envelope, envelopeId, at, receipts: [], withdrawals: [], offersKey: false }
  return { sessions: alice.sessions, sealed }
}

const newId = (): MessageId => formatHex(randomBytes(16)) as MessageId

function outgoingRows(
  peer: PeerId,
  { sessions, sealed }: Sample,
  count: number,
  now: TimeMs,
): Op[] {
  const letters = Array.from({ length: count }, (_, at): Letter => ({
    id: newId(),
    sequence: at + 1,
    draft: { kind: 'message', content: new Uint8Array(CONTENT_BYTES) },
    sentAt: now,
    state: 'queued',
    refetches: 0,
    keyed: false,
    sealed,
  }))
  const fresh = newConversation(peer, 'contact')
  const own = { ...sessions, peer, peerBytes: peerIdToBytes(peer) }
  const ledger = { ...fresh.ledger, nextSequence: count + 1, sessionSince: now }
  const after = resumeConversation({ ...fresh, sessions: own, letters, ledger }, 'closed')
  return conversationRows(resumeConversation(fresh, 'closed'), after)
}

/** Makes the home in a new folder. */
export async function buildHome(folder: string, size: HomeSize): Promise<void> {
  const now = toTimeMs(Date.now())
  const home = locateHome(folder, undefined)
  const { store } = await openNodeStore({ home, key: { kind: 'file' }, create: true })
  const events = await openEventLog(store)
  const inbox = await openInbox({ store, events, now: () => now, nameOf: () => null })
  const book = await openContactBook(store)
  const sample = makeSample()
  const content: Bytes = new Uint8Array(CONTENT_BYTES)
  let ops: Op[] = []
  for (let made = 1; made <= size.peers; made++) {
    const peer = peerIdFromPublicKey(native.signPublic(randomBytes(32)))
    ops.push(...book.set(peer, { name: null, verifiedKey: null, addedAt: now }).ops)
    ops.push(...outgoingRows(peer, sample, size.outgoing, now))
    for (let sequence = 1; sequence <= size.incoming; sequence++) {
      const message = { id: newId(), sequence, sentAt: now, content }
      ops.push(
        ...inbox.saveMessage(peer, {
          message,
          receivedAt: now,
          via: 'direct' as const,
          gap: false,
          late: false,
        }),
      )
      ops.push(...inbox.saveSeen(peer, formatHex(randomBytes(32)) as EnvelopeId, message.id))
    }
    if (made % PEERS_PER_COMMIT > 0 && made < size.peers) continue
    await store.commit(ops)
    ops = []
  }
  await store.close()
}
