// Puts direct messages together: keys, conversations, streams, inbox, contacts. Floor 3.
import type { Bytes } from '../../protocols/base/bytes.ts'
import type { PeerId } from '../../protocols/base/ids.ts'
import type { Primitives } from '../../protocols/base/primitives.ts'
import { DAY_MS } from '../../protocols/base/time.ts'
import type { TimeMs } from '../../protocols/base/time.ts'
import type { Conversation } from '../../protocols/direct/conversation.ts'
import { makeSessions } from '../../protocols/direct/sessions.ts'
import { ORDER_WAIT_MS } from '../../protocols/direct/types.ts'
import { verifyIdentityCertificate } from '../../protocols/identity/identity-certificate.ts'
import { serveDirect } from '../handlers/direct.ts'
import { servePrekeys } from '../handlers/prekeys.ts'
import type { Prekeys } from '../handlers/prekeys.ts'
import type { Host } from '../host/types.ts'
import type { Store } from '../store/types.ts'
import { makeContactService, openContactBook } from './contacts.ts'
import type { Heard } from './conversation-queries.ts'
import { retireSessions } from './conversation-start.ts'
import { Conversations } from './conversations.ts'
import { makeDirectMessages } from './direct-messages.ts'
import type { DirectMessages } from './direct-messages.ts'
import type { EventLog } from './events.ts'
import { openInbox } from './inbox.ts'
import type { NodeLog } from './log.ts'
import type { Progress } from './mailbox/collector.ts'
import { Mailboxes } from './mailbox/mailboxes.ts'
import { MessageWaiters } from './message-waiters.ts'
import { openPrekeyKeeper } from './prekey-keeper.ts'
import type { ContactService } from './types.ts'

/** What direct messages are made with. */
export interface DirectOptions {
  readonly host: Host
  readonly store: Store
  readonly primitives: Primitives
  readonly random: (length: number) => Bytes
  readonly now: () => TimeMs
  readonly events: EventLog
  /** Ed25519 seed of the host's peer ID. */
  readonly secret: Bytes
  /** Treat strangers as contacts. */
  readonly open: boolean
  /** The database is older than what this home had seen: no session in it may send again. */
  readonly regressed: boolean
  /** How long a hole in a sender's sequence is awaited; ORDER_WAIT_MS if absent. */
  readonly orderWaitMs?: number
  readonly log: NodeLog
  /** Keep mail for anyone. */
  readonly mailbox?: boolean
  /** Peers that this agent was started with: asked first to keep its mail. */
  readonly bootstrap?: readonly PeerId[]
  /** Hears how far the collection of waiting mail got. */
  readonly onCollected?: (progress: Progress) => void
  /** A custodian that was away for this long is replaced; CUSTODIAN_GONE_MS if absent. */
  readonly custodianGoneMs?: number
}

/** Direct messages of a running node. */
export interface Direct extends AsyncDisposable {
  readonly messages: DirectMessages
  readonly contacts: ContactService
  readonly prekeys: Prekeys
  readonly mailboxes: Mailboxes
  /** The durable state of the conversation with a peer. */
  conversation(peer: PeerId): Promise<Conversation>
  /** This agent's X25519 identity key: what its fingerprint is made of. */
  readonly identityKey: Bytes
  /** Takes up what was under way, and begins to listen; `onHandoff` comes before. */
  start(): Promise<void>
  close(): Promise<void>
}

/** Opens direct messages: prekeys are served at once, messages from `start` on. */
export async function openDirect(options: DirectOptions): Promise<Direct> {
  const { host, store, primitives, now, events, open } = options
  const peer: PeerId = host.peerId
  // Before anything is served or said: a conversation that is loaded earlier could send on an old session.
  if (options.regressed) await retireSessions(store, now())
  const keeper = await openPrekeyKeeper({ ...options, peer })
  const book = await openContactBook(store)
  const inbox = await openInbox({ store, events, now, nameOf: (other) => book.nameOf(other) })
  const waiters = new MessageWaiters()
  const prekeys = await servePrekeys({
    host,
    now,
    bundle: () => keeper.bundle(),
    issue: (requester) => keeper.issue(requester),
  })
  const mailboxes = await Mailboxes.open({
    ...options,
    prekeys,
    serve: options.mailbox ?? false,
    bootstrap: options.bootstrap ?? [],
    onProgress: (progress) => options.onCollected?.(progress),
  })
  const conversations = new Conversations({
    ...options,
    keeper,
    fetchPrekeys: (of, wanted) => mailboxes.fetchPrekeys(of, wanted),
    deposit: (to, effect) => mailboxes.deposit(to, effect),
    onMet: (met) => mailboxes.met(met),
    book,
    inbox,
    sessions: makeSessions(primitives, (of, bytes) =>
      verifyIdentityCertificate(primitives, of, bytes),
    ),
    orderWaitMs: options.orderWaitMs ?? ORDER_WAIT_MS,
    onReport: ({ id, state, facts }) => waiters.report(id, { state, ...facts }),
  })
  const { identityKey } = keeper.own
  const parts = { ...options, peer, identityKey, book, prekeys, conversations, inbox, waiters }
  const stops: (() => void)[] = [() => keeper[Symbol.dispose]()]
  const close = async (): Promise<void> => {
    mailboxes.close()
    for (const stop of stops.splice(0).reverse()) stop()
    await conversations.close()
  }
  return {
    messages: makeDirectMessages(parts),
    contacts: makeContactService({
      ...parts,
      trust: async (of, isContact) => {
        await conversations.dispatch(of, trustEvent(isContact, open))
        if (isContact) mailboxes.met(of)
        else await mailboxes.parted(of)
      },
    }),
    prekeys,
    mailboxes,
    conversation: (of) => conversations.state(of),
    identityKey,
    async start() {
      const links = await serveDirect({ host, primitives, now, sink: conversations })
      stops.push(() => links.close())
      stops.push(
        host.onPeer((event) => {
          if (event.kind === 'connected') conversations.connected(event.peer)
        }),
      )
      const forgetting = setInterval(() => void inbox.forget().catch(() => undefined), DAY_MS)
      forgetting.unref()
      stops.push(() => clearInterval(forgetting))
      await conversations.start(links)
      await mailboxes.start({
        conversations,
        keeper,
        isContact: (of) => Promise.resolve(book.has(of)),
      })
      await inbox.forget()
    },
    close,
    [Symbol.asyncDispose]: close,
  }
}

function trustEvent(isContact: boolean, open: boolean): Heard {
  if (isContact) return { kind: 'trusted' }
  return { kind: 'distrusted', trust: open ? 'open' : 'stranger' }
}
