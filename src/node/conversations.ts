// Runs the delivery machine of every peer: loads, feeds, saves, performs, times, unloads. Floor 3.
import { ConclaveError } from '../../protocols/base/errors.ts'
import type { ErrorCode } from '../../protocols/base/error-codes.ts'
import type { Bytes } from '../../protocols/base/bytes.ts'
import type { PeerId } from '../../protocols/base/ids.ts'
import { DAY_MS, SECOND_MS } from '../../protocols/base/time.ts'
import type { TimeMs } from '../../protocols/base/time.ts'
import type {
  Conversation,
  ConversationEffect,
  ConversationEvent,
  Found,
  Incoming,
  Moment,
  ResultStatus,
} from '../../protocols/direct/conversation.ts'
import { resumeConversation, RETRY_MS_MAX } from '../../protocols/direct/conversation.ts'
import { SEAL_DRAW_BYTES } from '../../protocols/direct/envelope-seal.ts'
import { makeConversationStep } from '../../protocols/direct/machine.ts'
import type { StepConversation } from '../../protocols/direct/machine.ts'
import type { SessionOperations } from '../../protocols/direct/sessions.ts'
import { TokenBuckets } from '../../protocols/base/token-bucket.ts'
import { STRANGERS_ENVELOPES_MAX } from '../../protocols/direct/types.ts'
import type { EnvelopeId, MessageId } from '../../protocols/direct/types.ts'
import { isCurrent } from '../../protocols/direct/outbox.ts'
import type { Via } from '../../protocols/direct/receive-order.ts'
import type { Driver } from '../driver.ts'
import { drive } from '../driver.ts'
import type { DirectLinks, DirectSink } from '../handlers/direct.ts'
import type { Op, Store } from '../store/types.ts'
import type { ContactBook } from './contacts.ts'
import { conversationRows, loadConversation } from './conversation-rows.ts'
import { fetchBundle, lookUp } from './conversation-queries.ts'
import type { FetchPrekeys, Heard } from './conversation-queries.ts'
import { peersWithRequests, peersWithWork } from './conversation-start.ts'
import { effectRows, stateFacts } from './effect-rows.ts'
import type { EffectPorts, HandoffTaker, Report } from './effect-rows.ts'
import type { EventLog } from './events.ts'
import type { Inbox, Located } from './inbox.ts'
import { hasWork, isAtRest, Parked } from './parked.ts'
import type { PrekeyKeeper } from './prekey-keeper.ts'

/** Conversations kept in memory; beyond it those with nothing under way are unloaded. */
export const LOADED_MAX = 1_024
/** Conversations taken up by themselves at once: each may dial, and fetch a bundle. */
export const TAKEN_UP_MAX = 32
/** How often more of them are taken up; one that was unloaded with work comes after RETRY_MS_MAX. */
const TAKE_UP_INTERVAL_MS: number = SECOND_MS
/** Envelopes one `drawn` event may seal. */
const DRAWS_PER_EVENT = 64
/** The longest sleep of a timer: Node's own limit is about 24 days. */
const SLEEP_MS_MAX = DAY_MS
/** How long after a failed commit a conversation is taken up again. */
const RESUME_MS: number = SECOND_MS

/** What running conversations needs. */
export interface ConversationsOptions {
  readonly store: Store
  readonly sessions: SessionOperations
  readonly random: (length: number) => Bytes
  readonly now: () => TimeMs
  readonly keeper: PrekeyKeeper
  readonly fetchPrekeys: FetchPrekeys
  readonly book: ContactBook
  readonly inbox: Inbox
  readonly events: EventLog
  readonly orderWaitMs: number
  /** Treat strangers as contacts. */
  readonly open: boolean
  readonly onReport: (report: Report) => void
  /** Asks the peer's custodians to keep an envelope; what they say comes back as events. */
  readonly deposit: (peer: PeerId, effect: DepositEffect) => void
  /** A link to the peer has opened, or it is talked to: what else is to be done with it can be. */
  readonly onMet: (peer: PeerId) => void
}

/** An envelope for the peer's custodians. */
export type DepositEffect = Extract<ConversationEffect, { kind: 'deposit' }>

/** Envelopes of strangers looked at for a one-time prekey that was used up: each may cost fetching a bundle. */
const STRANGER_RENEWALS = { burst: 64, perSecond: 1 } as const

interface Running {
  readonly driver: Driver<Conversation, ConversationEvent>
  /** The newest state computed; undefined until loaded. */
  newest: Conversation | undefined
  /** Events not settled yet, and lookups and fetches under way. */
  busy: number
  timer: NodeJS.Timeout | undefined
  /** Set while a failed read or commit is to be got over. */
  resuming: NodeJS.Timeout | undefined
  /** Of the batch being composed. */
  after: (() => void)[]
  undo: (() => void)[]
}

/** All conversations of this agent. */
export class Conversations implements DirectSink {
  readonly #options: ConversationsOptions
  readonly #step: StepConversation
  readonly #running = new Map<PeerId, Running>()
  readonly #parked = new Parked()
  readonly #renewals = new TokenBuckets<'all'>(STRANGER_RENEWALS, 1)
  #taking: NodeJS.Timeout | undefined
  readonly #ports: EffectPorts
  readonly #answers = new Map<number, (status: ResultStatus) => void>()
  readonly #locating = new Map<string, Located>()
  readonly #closing = new AbortController()
  #links: DirectLinks | undefined
  #token = 0
  /** Messages of all strangers that wait in the request box. */
  #requests = 0

  constructor(options: ConversationsOptions) {
    this.#options = options
    const { keeper, sessions, orderWaitMs } = options
    this.#ports = { ...options, takers: new Map(), locating: this.#locating }
    this.#step = makeConversationStep({ own: keeper.own, sessions, orderWaitMs })
  }

  /** Gives the way out, and takes up every conversation that has something under way, some of them later. */
  async start(links: DirectLinks): Promise<void> {
    const { store } = this.#options
    this.#links = links
    for (const peer of await peersWithRequests(store)) this.#get(peer)
    for (const peer of await peersWithWork(store)) {
      if (!this.#running.has(peer)) this.#parked.add(peer, 0)
    }
    this.#takeUp()
    this.#taking = setInterval(() => this.#takeUp(), TAKE_UP_INTERVAL_MS)
    this.#taking.unref()
  }

  /** Queues an event; resolves once its step is durable. */
  async dispatch(peer: PeerId, heard: Heard): Promise<void> {
    if (this.#closing.signal.aborted) {
      throw new ConclaveError('STATE_CLOSED', 'the node is closing')
    }
    await this.#dispatch(this.#get(peer), heard)
  }

  /** The durable state of a conversation. */
  state(peer: PeerId): Promise<Conversation> {
    return this.#get(peer).driver.state()
  }

  /** Conversations in memory. */
  async loaded(): Promise<Conversation[]> {
    return Promise.all([...this.#running.values()].map(({ driver }) => driver.state()))
  }

  onHandoff(protocol: string, taker: HandoffTaker): void {
    this.#ports.takers.set(protocol, taker)
  }

  /** Marks a located message as handled. */
  async archive(located: readonly Located[]): Promise<void> {
    const [first] = located
    if (first === undefined) return
    for (const one of located) this.#locating.set(`${one.peer}/${one.id}`, one)
    try {
      await this.dispatch(first.peer, { kind: 'agentHandled', ids: located.map(({ id }) => id) })
    } finally {
      for (const one of located) this.#locating.delete(`${one.peer}/${one.id}`)
    }
  }

  received(
    peer: PeerId,
    envelope: Bytes,
    envelopeId: EnvelopeId,
    via: Via = 'direct',
  ): Promise<ResultStatus> {
    const token = ++this.#token
    const answered = new Promise<ResultStatus>((resolve) => this.#answers.set(token, resolve))
    this.#receive(peer, { token, envelope, envelopeId, via })
    return answered
  }

  results(peer: PeerId, results: Extract<Heard, { kind: 'resultsReceived' }>['results']): void {
    this.#tell(peer, { kind: 'resultsReceived', results })
  }

  opened(peer: PeerId): void {
    this.#tell(peer, { kind: 'linkOpened' })
    this.#options.onMet(peer)
  }

  closed(peer: PeerId): void {
    this.#tell(peer, { kind: 'linkClosed' })
  }

  failed(peer: PeerId, code: ErrorCode): void {
    this.#tell(peer, { kind: 'linkFailed', code })
  }

  /** The host has a connection to the peer again. */
  connected(peer: PeerId): void {
    // All others have nothing to send.
    if (this.#running.has(peer) || this.#parked.has(peer)) this.#tell(peer, { kind: 'connected' })
  }

  /** Ends timers and waits for what is being saved. */
  async close(): Promise<void> {
    this.#closing.abort()
    clearInterval(this.#taking)
    for (const running of this.#running.values()) stopTimers(running)
    while ([...this.#running.values()].some(({ busy }) => busy > 0)) {
      await new Promise((resolve) => setImmediate(resolve))
    }
  }

  /** Events that nobody waits for. */
  #tell(peer: PeerId, heard: Heard): void {
    if (this.#closing.signal.aborted) return
    const running = this.#get(peer)
    this.#dispatch(running, heard).catch(() => undefined)
  }

  async #dispatch(running: Running, heard: Heard): Promise<void> {
    running.busy += 1
    try {
      await running.driver.dispatch({ ...heard, at: this.#moment(heard.kind) })
    } finally {
      running.busy -= 1
    }
  }

  #moment(kind: Heard['kind']): Moment {
    const { random, now } = this.#options
    const envelopes = kind === 'drawn' || kind === 'bundleFetched' ? DRAWS_PER_EVENT : 1
    return {
      nowMs: now(),
      draws: random(envelopes * SEAL_DRAW_BYTES),
      jitter: Math.random(),
    }
  }

  #get(peer: PeerId): Running {
    const known = this.#running.get(peer)
    if (known !== undefined) return known
    this.#unloadIdle()
    const running = this.#make(peer)
    this.#running.set(peer, running)
    this.#parked.delete(peer)
    this.#tell(peer, { kind: 'restarted' })
    return running
  }

  #make(peer: PeerId): Running {
    const { store } = this.#options
    const commit = async (ops: readonly Op[]): Promise<void> => {
      const after = running.after.splice(0)
      const undo = running.undo.splice(0)
      try {
        await store.commit(ops)
      } catch (error) {
        for (const one of undo) one()
        this.#resumeLater(peer, running)
        throw error
      }
      for (const one of after) one()
      this.#options.events.wake()
    }
    const running: Running = {
      driver: drive<Conversation, ConversationEvent, ConversationEffect>(
        { commit },
        {
          load: () =>
            this.#load(peer, running).catch((error: unknown) => {
              this.#resumeLater(peer, running)
              throw error
            }),
          step: this.#step,
          rows: (_before, after, effects) => this.#rows(running, after, effects),
          stateRows: (before, after) => {
            this.#noteState(running, after)
            return conversationRows(before, after)
          },
          perform: (effect) => this.#perform(peer, running, effect),
        },
      ),
      newest: undefined,
      busy: 0,
      timer: undefined,
      resuming: undefined,
      after: [],
      undo: [],
    }
    return running
  }

  async #load(peer: PeerId, running: Running): Promise<Conversation> {
    const { store, book, open } = this.#options
    const trust = book.has(peer) ? 'contact' : open ? 'open' : 'stranger'
    const saved = await loadConversation(store, peer, trust)
    const link = this.#links?.isOpen(peer) === true ? 'open' : 'closed'
    const state = resumeConversation(saved, link)
    this.#noteState(running, state)
    return state
  }

  /** Keeps the count of all strangers' requests, which each of them is measured by. */
  #noteState(running: Running, state: Conversation): void {
    this.#requests += state.requests.length - (running.newest?.requests.length ?? 0)
    running.newest = state
  }

  #rows(running: Running, state: Conversation, effects: readonly ConversationEffect[]): Op[] {
    const ops: Op[] = []
    for (const effect of effects) {
      const { rows, after, undo } = effectRows(this.#ports, state, effect)
      for (const op of rows) ops.push(op)
      if (after !== undefined) running.after.push(after)
      if (undo !== undefined) running.undo.push(undo)
    }
    return ops
  }

  #perform(peer: PeerId, running: Running, effect: ConversationEffect): void {
    switch (effect.kind) {
      case 'transmit':
      case 'deposit':
        // Events that share a commit may have sealed it and given it up: then it was never durable, and must not leave.
        if (running.newest === undefined || !isCurrent(running.newest, effect.ref)) return
        if (effect.kind === 'deposit') this.#options.deposit(peer, effect)
        else this.#links?.transmit(peer, effect.ref, effect.envelope)
        return
      case 'answer':
        this.#answer(effect.incoming, effect.status)
        return
      case 'lookUp':
        void this.#lookUp(peer, running, effect.incoming, effect.messageId)
        return
      case 'openLink':
        this.#links?.open(peer)
        return
      case 'fetchBundle':
        void this.#fetchBundle(peer, running)
        return
      case 'drawMore':
        this.#tell(peer, { kind: 'drawn' })
        return
      case 'startTimer':
        this.#startTimer(peer, running, effect.dueAt)
        return
      case 'report':
        this.#options.onReport({
          peer,
          id: effect.id,
          state: effect.state,
          facts: stateFacts(effect),
        })
        return
      case 'saveSeen':
      case 'saveMessage':
      case 'saveHeld':
      case 'saveRequest':
      case 'saveHandoff':
      case 'consumePrekeys':
      case 'befriend':
      case 'archive':
      case 'reportIdentity':
      case 'reportReset':
    }
  }

  #receive(peer: PeerId, incoming: Incoming, found?: Found): void {
    if (this.#closing.signal.aborted) {
      this.#answer(incoming, 'busy')
      return
    }
    const running = this.#get(peer)
    const heard: Heard = {
      kind: 'received',
      incoming,
      prekeys: this.#options.keeper.lookup,
      isBoxFull: this.#requests >= STRANGERS_ENVELOPES_MAX,
      mayRenew: incoming.via === 'mailbox' && this.#mayRenew(running),
      ...(found !== undefined && { found }),
    }
    this.#dispatch(running, heard).catch(() => {
      // Nothing of it was saved: the peer keeps it and sends it again.
      this.#answer(incoming, 'busy')
    })
  }

  #mayRenew({ newest }: Running): boolean {
    return newest?.trust !== 'contact' && this.#renewals.take('all', this.#options.now())
  }

  #answer({ token }: Incoming, status: ResultStatus): void {
    this.#answers.get(token)?.(status)
    this.#answers.delete(token)
  }

  async #lookUp(
    peer: PeerId,
    running: Running,
    incoming: Incoming,
    messageId: MessageId | undefined,
  ): Promise<void> {
    running.busy += 1
    try {
      this.#receive(peer, incoming, await lookUp(this.#options.inbox, peer, incoming, messageId))
    } catch {
      this.#answer(incoming, 'busy')
    } finally {
      running.busy -= 1
    }
  }

  async #fetchBundle(peer: PeerId, running: Running): Promise<void> {
    running.busy += 1
    try {
      this.#tell(peer, await fetchBundle(this.#options, peer, this.#closing.signal))
    } finally {
      running.busy -= 1
    }
  }

  #startTimer(peer: PeerId, running: Running, dueAt: number): void {
    clearTimeout(running.timer)
    running.timer = undefined
    if (dueAt === Infinity || this.#closing.signal.aborted) return
    const sleepMs = Math.min(Math.max(dueAt - this.#options.now(), 0), SLEEP_MS_MAX)
    running.timer = setTimeout(() => {
      running.timer = undefined
      this.#tell(peer, { kind: 'timerExpired' })
    }, sleepMs)
    running.timer.unref()
  }

  /** After a failed commit the state is read again: what was under way in memory alone begins anew. */
  #resumeLater(peer: PeerId, running: Running): void {
    if (this.#closing.signal.aborted || running.resuming !== undefined) return
    running.resuming = setTimeout(() => {
      running.resuming = undefined
      this.#tell(peer, { kind: 'restarted' })
    }, RESUME_MS)
    running.resuming.unref()
  }

  /** Takes up parked conversations, as far as those before them have got somewhere. */
  #takeUp(): void {
    const settling = [...this.#running.values()].filter(isSettling).length
    const taken = this.#parked.take(TAKEN_UP_MAX - settling, this.#options.now())
    for (const peer of taken) this.#get(peer)
  }

  /** Unloads conversations in which nothing is under way, the longest known first; those with work are parked. */
  #unloadIdle(): void {
    for (const [peer, running] of this.#running) {
      if (this.#running.size < LOADED_MAX) return
      if (running.newest === undefined || running.busy > 0 || !isAtRest(running.newest)) continue
      stopTimers(running)
      this.#running.delete(peer)
      if (hasWork(running.newest)) this.#parked.add(peer, this.#options.now() + RETRY_MS_MAX)
    }
  }
}

function isSettling({ newest, busy }: Running): boolean {
  return newest === undefined || busy > 0 || newest.link === 'opening' || newest.isFetching
}

function stopTimers({ timer, resuming }: Running): void {
  clearTimeout(timer)
  clearTimeout(resuming)
}
