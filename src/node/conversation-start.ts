// What a start does before conversations run: finds those with work, and retires sessions after a restore. Floor 3.
import type { PeerId } from '../../protocols/base/ids.ts'
import type { TimeMs } from '../../protocols/base/time.ts'
import type { Conversation } from '../../protocols/direct/conversation.ts'
import { resumeConversation } from '../../protocols/direct/conversation.ts'
import { postbagSize } from '../../protocols/direct/receipts.ts'
import { receiveOnly } from '../../protocols/direct/session.ts'
import type { Store } from '../store/types.ts'
import { conversationRows, loadConversation } from './conversation-rows.ts'
import { decodeLedger, TABLES } from './direct-rows.ts'

/** The peer at the beginning of a key, as it was written from a PeerId. */
function peerOf(key: string): PeerId {
  return key.slice(0, key.indexOf('/')) as PeerId
}

/** Peers with something to send, to hand over or to decide. */
export async function peersWithWork(store: Store): Promise<Set<PeerId>> {
  const peers = new Set<PeerId>()
  for (const table of [TABLES.outbox, TABLES.notice, TABLES.held, TABLES.request]) {
    for await (const { key } of store.rows(table)) peers.add(peerOf(key))
  }
  for await (const { key, value } of store.rows(TABLES.peer)) {
    if (postbagSize(decodeLedger(value).postbag) > 0) peers.add(key as PeerId)
  }
  return peers
}

/** True if something is under way in a conversation, so that it stays in memory. */
export function hasWork(state: Conversation): boolean {
  const { outbox, notices, held, requests, ledger, link, isFetching } = state
  const waiting = outbox.length + notices.length + held.length + requests.length
  return waiting > 0 || postbagSize(ledger.postbag) > 0 || link !== 'closed' || isFetching
}

/**
 * Forbids sending on every saved session. After a restored backup a chain may have sent what this database does
 * not know of, and its keys must not be used again.
 */
export async function retireSessions(store: Store, nowMs: TimeMs): Promise<void> {
  const peers = new Set<PeerId>()
  for await (const { key } of store.rows(TABLES.session)) peers.add(peerOf(key))
  for (const peer of peers) {
    const before = resumeConversation(await loadConversation(store, peer, 'stranger'), 'closed')
    const after = { ...before, sessions: receiveOnly(before.sessions, nowMs) }
    await store.commit(conversationRows(before, after))
  }
}
