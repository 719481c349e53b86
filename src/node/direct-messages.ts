// Direct messages as the agent sees them: send, read, handle; and handoffs for our other protocols. Floor 3.
import { formatHex, utf8 } from '../../protocols/base/bytes.ts'
import type { Bytes } from '../../protocols/base/bytes.ts'
import { ConclaveError, invariant } from '../../protocols/base/errors.ts'
import type { PeerId } from '../../protocols/base/ids.ts'
import type { Primitives } from '../../protocols/base/primitives.ts'
import { formatTime, toTimeMs } from '../../protocols/base/time.ts'
import type { TimeMs } from '../../protocols/base/time.ts'
import { messageIdFromBytes, parseMessageId } from '../../protocols/direct/body.ts'
import { hasEnough, isStored } from '../../protocols/direct/conversation.ts'
import type {
  Conversation,
  Copies,
  Done,
  Draft,
  Letter,
} from '../../protocols/direct/conversation.ts'
import { findState } from '../../protocols/direct/outbox.ts'
import { activeSession } from '../../protocols/direct/session.ts'
import {
  CONTENT_TYPE_BYTES_MAX,
  HANDOFF_PROTOCOL_BYTES_MAX,
  MESSAGE_BYTES_MAX,
} from '../../protocols/direct/types.ts'
import type { MessageId } from '../../protocols/direct/types.ts'
import { put } from '../store/types.ts'
import type { Store } from '../store/types.ts'
import type { Conversations } from './conversations.ts'
import {
  decodeCopies,
  decodeDone,
  decodeKeyed,
  decodeLetter,
  encodeKeyed,
  TABLES,
  weekOf,
  weeksKept,
} from './direct-rows.ts'
import type { KeyedMessage } from './direct-rows.ts'
import { copiesText } from './effect-rows.ts'
import type { HandoffTaker } from './effect-rows.ts'
import { unknownMessages } from './inbox.ts'
import type { Inbox, Located } from './inbox.ts'
import type { MessageWaiters } from './message-waiters.ts'
import type {
  DirectService,
  InboxMessage,
  InboxQuery,
  MessageState,
  OutboxMessage,
  SendOptions,
} from './types.ts'
import type { SendResult } from './types.ts'

/** Attempts to mark a message as handled while it moves between boxes. */
const HANDLE_ATTEMPTS_MAX = 5

/** Weeks in which an idempotency key holds; no longer than messages are remembered. */
const KEY_WEEKS = 2

/** What the service needs. */
export interface DirectMessagesOptions {
  readonly store: Store
  readonly primitives: Pick<Primitives, 'sha256'>
  readonly random: (length: number) => Bytes
  readonly now: () => TimeMs
  readonly peer: PeerId
  readonly conversations: Conversations
  readonly inbox: Inbox
  readonly waiters: MessageWaiters
}

/** What is known of a session with a peer. */
export interface SessionFact {
  readonly open: boolean
  readonly ageSeconds: number
}

/** Numbers for the status page. */
export interface DirectCounts {
  readonly unread: number
  readonly requests: number
  readonly queued: number
  readonly stored: number
}

/** The service, and what the rest of the node asks of it. */
export interface DirectMessages extends DirectService {
  /**
   * Sends bytes to another of our protocols at the peer, with the same guarantees as a message, never shown in its
   * inbox. Resolves once durable here. The peer becomes a contact.
   *
   * @throws ConclaveError `USAGE_MESSAGE_TOO_LARGE`, `USAGE_ARGUMENT`, `DIRECT_OUTBOX_FULL`, and the store's.
   */
  handoff(to: PeerId, protocol: string, content: Bytes): Promise<string>
  /** Says who takes handoffs of a protocol; set before the node begins to listen. */
  onHandoff(protocol: string, taker: HandoffTaker): void
  session(peer: PeerId): Promise<SessionFact | undefined>
  counts(): Promise<DirectCounts>
}

/** Makes the service. */
export function makeDirectMessages(options: DirectMessagesOptions): DirectMessages {
  return new Service(options)
}

class Service implements DirectMessages {
  readonly #options: DirectMessagesOptions
  /** Sends under way, by idempotency key. */
  readonly #keyed = new Map<string, Promise<KeyedMessage>>()

  constructor(options: DirectMessagesOptions) {
    this.#options = options
  }

  async send(to: PeerId, body: Uint8Array, options: SendOptions = {}): Promise<SendResult> {
    const draft = this.#messageDraft(to, body, options.type)
    options.signal?.throwIfAborted()
    const { idempotencyKey } = options
    const sent: KeyedMessage =
      idempotencyKey === undefined
        ? { id: this.#newId(), to }
        : await this.#claimKey(idempotencyKey, to)
    const keyed = idempotencyKey !== undefined
    const { conversations, waiters } = this.#options
    const waiting = waiters.expect(sent.id)
    try {
      // Where the key named this message before, the conversation knows its id, and nothing is added.
      await conversations.dispatch(sent.to, { kind: 'submitted', id: sent.id, keyed, draft })
      const state = keyed ? findState(await conversations.state(sent.to), sent.id) : undefined
      return await waiting.reach(sent.to, state ?? 'queued', options)
    } finally {
      waiting.end()
    }
  }

  async inbox(query: InboxQuery = {}): Promise<InboxMessage[]> {
    const messages = await this.#options.inbox.query(query)
    if (query.handle !== true || messages.length === 0) return messages
    await this.handled(messages.map(({ id }) => id))
    return messages.map((message) => ({ ...message, handled: true }))
  }

  async handled(ids: readonly string[]): Promise<string[]> {
    const unique = [...new Set(ids)]
    const parsed = unique.map((id) => parseMessageId(id))
    const found = await Promise.all(
      parsed.map((id) => (id === undefined ? Promise.resolve([]) : this.#locateVisible(id))),
    )
    const unknown = unique.filter((_, i) => found[i]?.length === 0)
    if (unknown.length > 0) throw unknownMessages(unknown)
    let left = found.flat().filter(isUnhandled)
    for (let attempt = 0; left.length > 0 && attempt < HANDLE_ATTEMPTS_MAX; attempt++) {
      await this.#archive(left)
      // A message may have moved from the request box to the inbox in between; then it is done once more.
      const again = await Promise.all(left.map(({ id }) => this.#locateVisible(id)))
      left = again.flat().filter(isUnhandled)
    }
    invariant(left.length === 0, 'a handled message leaves the inbox')
    return unique
  }

  async outbox(): Promise<OutboxMessage[]> {
    const { conversations, store } = this.#options
    const waiting: Line[] = []
    const states = await conversations.loaded()
    const loaded = new Set(states.map(({ peer }) => peer))
    for (const state of states) waiting.push(...waitingLines(state))
    for await (const { key, value } of store.rows(TABLES.outbox)) {
      if (loaded.has(peerOf(key))) continue
      const row = await store.get(TABLES.copies, key)
      const copies = row === undefined ? undefined : decodeCopies(row)
      waiting.push(...letterLines(peerOf(key), decodeLetter(value), copies))
    }
    const known = new Set(waiting.map(({ line }) => line.id))
    for await (const { key, value } of store.rows(TABLES.done)) {
      const done = decodeDone(value)
      // Between two commits a message may be in both places.
      if (done.kind === 'handoff' || done.state === 'handled') continue
      if (known.has(done.id)) continue
      waiting.push(doneLine(peerOf(key), done))
    }
    return waiting.sort((a, b) => a.sentAt - b.sentAt).map(({ line }) => line)
  }

  async handoff(to: PeerId, protocol: string, content: Bytes): Promise<string> {
    this.#demandOther(to)
    demandSize(content)
    const octets = utf8(protocol).length
    if (octets === 0 || octets > HANDOFF_PROTOCOL_BYTES_MAX || !isPrintable(protocol)) {
      throw new ConclaveError('USAGE_ARGUMENT', 'not a name of a protocol', {
        hint: `at most ${HANDOFF_PROTOCOL_BYTES_MAX} printable ASCII characters`,
      })
    }
    const id = this.#newId()
    const draft: Draft = { kind: 'handoff', protocol, content: Uint8Array.from(content) }
    await this.#options.conversations.dispatch(to, { kind: 'submitted', id, keyed: false, draft })
    return id
  }

  onHandoff(protocol: string, taker: HandoffTaker): void {
    this.#options.conversations.onHandoff(protocol, taker)
  }

  async session(peer: PeerId): Promise<SessionFact | undefined> {
    const { sessions, ledger } = await this.#options.conversations.state(peer)
    const active = activeSession(sessions)
    if (active === undefined) return undefined
    const ageSeconds = Math.max(0, (this.#options.now() - ledger.sessionSince) / 1_000)
    return { open: active.state === 'established', ageSeconds: Math.floor(ageSeconds) }
  }

  async counts(): Promise<DirectCounts> {
    const states = await this.#options.conversations.loaded()
    const loaded = new Set(states.map(({ peer }) => peer))
    const lines = states.flatMap(waitingLines)
    const count = (state: MessageState): number =>
      lines.filter(({ line }) => line.state === state).length
    let [queued, stored] = [count('queued'), count('stored')]
    const { store, inbox } = this.#options
    // Of conversations that are not in memory, what is expired or a handoff is not told apart: it would take reading all.
    for await (const key of store.keys(TABLES.outbox)) if (!loaded.has(peerOf(key))) queued += 1
    for await (const { key, value } of store.rows(TABLES.copies)) {
      if (loaded.has(peerOf(key)) || !hasEnough(decodeCopies(value))) continue
      queued -= 1
      stored += 1
    }
    return { ...(await inbox.counts()), queued, stored }
  }

  #newId(): MessageId {
    const id = messageIdFromBytes(this.#options.random(16))
    invariant(id !== undefined, '16 bytes make a message id')
    return id
  }

  #messageDraft(to: PeerId, body: Uint8Array, type: string | undefined): Draft {
    this.#demandOther(to)
    demandSize(body)
    const content = Uint8Array.from(body)
    if (type === undefined || type === 'text/plain') return { kind: 'message', content }
    if (type.length === 0 || type.length > CONTENT_TYPE_BYTES_MAX || !isPrintable(type)) {
      throw new ConclaveError('USAGE_ARGUMENT', 'not a MIME type', {
        hint: `at most ${CONTENT_TYPE_BYTES_MAX} printable ASCII characters, such as application/json`,
      })
    }
    return { kind: 'message', contentType: type, content }
  }

  #demandOther(to: PeerId): void {
    if (to !== this.#options.peer) return
    throw new ConclaveError('USAGE_ARGUMENT', 'an agent sends no messages to itself', {
      hint: 'give the peer ID of another agent',
    })
  }

  /** Finds what the key stands for, or lets it stand for a new message: durable before the message is. */
  #claimKey(key: string, to: PeerId): Promise<KeyedMessage> {
    const running = this.#keyed.get(key)
    if (running !== undefined) return running
    const claiming = this.#claim(key, to).finally(() => this.#keyed.delete(key))
    this.#keyed.set(key, claiming)
    return claiming
  }

  async #claim(key: string, to: PeerId): Promise<KeyedMessage> {
    const { store, primitives, now } = this.#options
    const name = formatHex(primitives.sha256(utf8(key)))
    for (const week of weeksKept(now()).slice(0, KEY_WEEKS)) {
      const known = await store.get(TABLES.idempotency, `${week}/${name}`)
      if (known !== undefined) return decodeKeyed(known)
    }
    const fresh = { id: this.#newId(), to }
    await store.commit([put(TABLES.idempotency, `${weekOf(now())}/${name}`, encodeKeyed(fresh))])
    return fresh
  }

  /** Messages behind a hole are not shown yet, so nobody can have dealt with them. */
  async #locateVisible(id: MessageId): Promise<Located[]> {
    const located = await this.#options.inbox.locate(id)
    return located.filter(({ place }) => place.table !== 'held')
  }

  async #archive(located: readonly Located[]): Promise<void> {
    const byPeer = Map.groupBy(located, ({ peer }) => peer)
    await Promise.all([...byPeer.values()].map((some) => this.#options.conversations.archive(some)))
  }
}

interface Line {
  readonly sentAt: TimeMs
  readonly line: OutboxMessage
}

function waitingLines({ peer, outbox, retryAt }: Conversation): Line[] {
  const next = retryAt === undefined ? null : formatTime(toTimeMs(retryAt))
  return outbox.flatMap((entry): Line[] => {
    const { letter, copies, phase, attempts, lastError } = entry
    if (letter.draft.kind === 'handoff') return []
    const isDue = letter.state === 'queued' && (phase === 'waiting' || phase === 'refused')
    const line: OutboxMessage = {
      id: letter.id,
      to: peer,
      state: isStored(entry) ? 'stored' : letter.state,
      copies: copies === undefined ? null : copiesText(copies),
      attempts,
      nextAttemptAt: isDue ? next : null,
      lastError: lastError ?? null,
    }
    return [{ sentAt: letter.sentAt, line }]
  })
}

/** A letter of a conversation that is not in memory: nothing is known of its attempts. */
function letterLines(to: PeerId, letter: Letter, found: Copies | undefined): Line[] {
  const { id, draft, sentAt } = letter
  if (draft.kind === 'handoff') return []
  const copies = found?.envelopeId === letter.sealed?.envelopeId ? found : undefined
  const isKept = copies !== undefined && letter.state === 'queued' && hasEnough(copies)
  const text = copies === undefined ? null : copiesText(copies)
  const facts = { copies: text, attempts: 0, nextAttemptAt: null, lastError: null }
  return [{ sentAt, line: { id, to, state: isKept ? 'stored' : letter.state, ...facts } }]
}

/** The peer at the beginning of a key, as it was written from a PeerId. */
function peerOf(key: string): PeerId {
  return key.slice(0, key.indexOf('/')) as PeerId
}

function doneLine(to: PeerId, { id, state, sentAt }: Done): Line {
  const lastError = state === 'failed' ? 'PREKEYS_CONSUMED' : null
  const facts = { copies: null, attempts: 0, nextAttemptAt: null, lastError }
  return { sentAt, line: { id, to, state, ...facts } }
}

function isUnhandled({ place }: Located): boolean {
  return place.table !== 'inbox-handled'
}

function isPrintable(text: string): boolean {
  return /^[\x20-\x7e]*$/.test(text)
}

function demandSize(content: Bytes): void {
  if (content.length <= MESSAGE_BYTES_MAX) return
  throw new ConclaveError(
    'USAGE_MESSAGE_TOO_LARGE',
    `${content.length} bytes; a message has at most ${MESSAGE_BYTES_MAX}`,
    {
      hint: 'split it, or send where the bytes can be fetched',
      data: { found: content.length, allowed: MESSAGE_BYTES_MAX },
    },
  )
}
