// One side of a conversation as the delivery machine sees it: events in, effects out, rows kept. No clock, no network.
import * as assert from 'uvu/assert'
import { formatHex, utf8 } from '../../protocols/base/bytes.ts'
import type { Bytes } from '../../protocols/base/bytes.ts'
import type { Primitives } from '../../protocols/base/primitives.ts'
import type { TimeMs } from '../../protocols/base/time.ts'
import type {
  Conversation,
  ConversationEffect,
  ConversationEvent,
  Found,
  Incoming,
  ResultStatus,
  Trust,
} from '../../protocols/direct/conversation.ts'
import { newConversation, resumeConversation } from '../../protocols/direct/conversation.ts'
import { envelopeIdOf } from '../../protocols/direct/envelope.ts'
import { SEAL_DRAW_BYTES } from '../../protocols/direct/envelope-seal.ts'
import { makeConversationStep } from '../../protocols/direct/machine.ts'
import type { StepConversation } from '../../protocols/direct/machine.ts'
import { noSessions } from '../../protocols/direct/session.ts'
import type { SessionOperations } from '../../protocols/direct/sessions.ts'
import { ORDER_WAIT_MS } from '../../protocols/direct/types.ts'
import type { Body, Control, EnvelopeId, MessageId, Receipt } from '../../protocols/direct/types.ts'
import { drawsOf, fetchFrom, makeAgent, NOW, operationsOf, valueOf } from './direct-cast.ts'
import type { Agent } from './direct-cast.ts'

type Without<Event> = Event extends unknown ? Omit<Event, 'at'> : never
export type Transmitted = Extract<ConversationEffect, { kind: 'transmit' }>

/** What tests change. */
export interface PartyOptions {
  /** What Bob thinks of Alice; `contact` if absent. */
  readonly bobTrusts?: Trust
  /** What Alice thinks of Bob; `stranger` if absent, until she writes. */
  readonly aliceTrusts?: Trust
  /** Freeze every input, and check that each step gives the same result twice. */
  readonly frozen?: boolean
}

/** One side. */
export class Party {
  readonly agent: Agent
  readonly operations: SessionOperations
  state: Conversation
  nowMs: TimeMs = NOW
  isBoxFull = false
  mayRenew = true
  via: 'direct' | 'mailbox' = 'direct'
  lastEffects: readonly ConversationEffect[] = []
  /** Statuses answered so far. */
  readonly answers: ResultStatus[] = []
  readonly #step: StepConversation
  readonly #draw: (length: number) => Bytes
  readonly #seen = new Map<EnvelopeId, MessageId | undefined>()
  readonly #messages = new Map<MessageId, Receipt['state']>()
  readonly #frozen: boolean
  readonly #primitives: Primitives
  #token = 0

  constructor(primitives: Primitives, agent: Agent, other: Agent, trust: Trust, frozen: boolean) {
    this.#primitives = primitives
    this.agent = agent
    this.operations = operationsOf(primitives)
    this.#step = makeConversationStep({
      own: agent.own,
      sessions: this.operations,
      orderWaitMs: ORDER_WAIT_MS,
    })
    this.#draw = drawsOf(primitives, `party ${agent.name}`)
    this.#frozen = frozen
    this.state = resumeConversation(newConversation(other.peer, trust), 'closed')
  }

  /** Runs one event, saves what it asks to save, and answers all effects. */
  hear(event: Without<ConversationEvent>, envelopes = 1): readonly ConversationEffect[] {
    const draws = this.#draw(SEAL_DRAW_BYTES * envelopes)
    const whole = { ...event, at: { nowMs: this.nowMs, draws, jitter: 0.5 } }
    if (this.#frozen) deepFreeze(this.state)
    const [state, effects] = this.#step(this.state, whole)
    if (this.#frozen) assert.equal(this.#step(this.state, whole), [state, effects])
    this.state = state
    this.lastEffects = effects
    for (const effect of effects) this.#save(effect)
    if (effects.some(({ kind }) => kind === 'drawMore')) {
      return [...effects, ...this.hear({ kind: 'drawn' }, 64)]
    }
    return effects
  }

  newId(): MessageId {
    return formatHex(this.#draw(16)) as MessageId
  }

  submit(
    text: string,
    options: { readonly id?: MessageId; readonly keyed?: boolean } = {},
  ): readonly ConversationEffect[] {
    const { id = this.newId(), keyed = false } = options
    return this.hear({
      kind: 'submitted',
      id,
      keyed,
      draft: { kind: 'message', content: utf8(text) },
    })
  }

  submitHandoff(protocol: string, content: Bytes): readonly ConversationEffect[] {
    const draft = { kind: 'handoff', protocol, content } as const
    return this.hear({ kind: 'submitted', id: this.newId(), keyed: false, draft })
  }

  /** Hears the other's bundle. */
  fetchFrom(other: Party, entry?: 'pair' | 'ec'): readonly ConversationEffect[] {
    const fetched = fetchFrom(other.agent, entry)
    const draws = valueOf(this.operations.drawInitiation(fetched, this.#draw))
    return this.hear({ kind: 'bundleFetched', fetched, draws }, 64)
  }

  /** Opens a session and a link, and confirms the session by an empty exchange. */
  connectTo(other: Party): void {
    const fetched = fetchFrom(other.agent)
    const draws = valueOf(this.operations.drawInitiation(fetched, this.#draw))
    const { own } = this.agent
    const made = valueOf(
      this.operations.initiate(own, this.state.sessions, fetched, draws, this.nowMs),
    )
    this.state = { ...this.state, sessions: made.sessions, trust: 'contact' }
    other.open(this.sealBody({ receipts: [], controls: [] }))
    this.open(other.sealBody({ receipts: [], controls: [] }))
    this.hear({ kind: 'linkOpened' })
  }

  /** Seals a body outside the machine: what a peer with another mind might send. */
  sealBody(body: Body): Bytes {
    const { own } = this.agent
    const sealed = this.operations.seal(
      own,
      this.state.sessions,
      body,
      this.#draw(SEAL_DRAW_BYTES),
      this.nowMs,
    )
    this.state = { ...this.state, sessions: valueOf(sealed).sessions }
    return valueOf(sealed).envelope
  }

  /** Opens an envelope outside the machine. */
  open(envelope: Bytes): void {
    const { own, prekeys } = this.agent
    const opened = valueOf(
      this.operations.open(own, this.state.sessions, prekeys, envelope, this.nowMs),
    )
    this.agent.consume(opened)
    this.state = { ...this.state, sessions: opened.sessions }
  }

  /** What was asked to be sent. */
  transmitted(effects: readonly ConversationEffect[]): Transmitted[] {
    return effects.filter((one) => one.kind === 'transmit')
  }

  /** Hears an answer to what it sent. */
  result(sent: Transmitted | undefined, status: ResultStatus): readonly ConversationEffect[] {
    assert.ok(sent, 'something was sent')
    return this.hear({ kind: 'resultsReceived', results: [{ ref: sent.ref, status }] })
  }

  /** Receives what the other sent, looking up as a node would. */
  receive(sent: Pick<Transmitted, 'envelope' | 'ref'> | undefined): readonly ConversationEffect[] {
    assert.ok(sent, 'something was sent')
    const token = ++this.#token
    const { envelope } = sent
    const envelopeId = envelopeIdOf(this.#primitives, envelope)
    const incoming = { token, envelope, envelopeId, via: this.via }
    return this.#receive(incoming)
  }

  /** Hears a receipt of the other's. */
  receipt(other: Party, id: string, state: Receipt['state']): readonly ConversationEffect[] {
    const receipts = [{ id: id as MessageId, state }]
    const envelope = other.sealBody({ receipts, controls: [] })
    return this.receive({ envelope, ref: {} as Transmitted['ref'] })
  }

  /** Hears a control item of the other's. */
  hearControl(other: Party, control: Control): readonly ConversationEffect[] {
    const envelope = other.sealBody({ receipts: [], controls: [control] })
    return this.receive({ envelope, ref: {} as Transmitted['ref'] })
  }

  /** Opens a new session to the other, with a reset; answers what the other does about it. */
  resetTo(other: Party): readonly ConversationEffect[] {
    const fetched = fetchFrom(other.agent)
    const draws = valueOf(this.operations.drawInitiation(fetched, this.#draw))
    const { own } = this.agent
    const made = this.operations.initiate(own, this.state.sessions, fetched, draws, this.nowMs)
    this.state = { ...this.state, sessions: valueOf(made).sessions }
    return other.hearControl(this, { kind: 'reset' })
  }

  /** Lets the time pass until receipts leave; answers what was sent. */
  flushReceipts(): Transmitted[] {
    if (this.state.link !== 'open') this.hear({ kind: 'linkOpened' })
    this.nowMs = (this.nowMs + 100) as TimeMs
    return this.transmitted(this.hear({ kind: 'timerExpired' }))
  }

  forgetSessions(): void {
    const { peer } = this.state
    this.state = { ...this.state, sessions: noSessions(peer) }
  }

  /** Keeps only what is saved. */
  restart(): void {
    const { sessions, trust, ledger, outbox, done, notices, held, requests } = this.state
    const letters = outbox.map(({ letter }) => letter)
    const copies = new Map(
      outbox.flatMap((one) =>
        one.copies === undefined ? [] : [[one.letter.sequence, one.copies] as const],
      ),
    )
    const saved = { sessions, trust, ledger, letters, copies, done, held, requests }
    this.state = resumeConversation(
      { ...saved, notices: notices.map(({ notice }) => notice) },
      'closed',
    )
  }

  #receive(incoming: Incoming, found?: Found): readonly ConversationEffect[] {
    const effects = this.hear({
      kind: 'received',
      incoming,
      prekeys: this.agent.prekeys,
      isBoxFull: this.isBoxFull,
      mayRenew: this.mayRenew,
      ...(found !== undefined && { found }),
    })
    const lookUp = effects.find((one) => one.kind === 'lookUp')
    if (lookUp === undefined) return effects
    const { envelopeId } = incoming
    const messageId = this.#seen.get(envelopeId)
    const state = messageId === undefined ? undefined : this.#messages.get(messageId)
    return this.#receive(incoming, {
      ...(this.#seen.has(envelopeId) && {
        envelope:
          messageId === undefined
            ? {}
            : { message: { id: messageId, state: state ?? 'delivered' } },
      }),
      ...(lookUp.messageId !== undefined && {
        message: this.#messages.get(lookUp.messageId) ?? false,
      }),
    })
  }

  #save(effect: ConversationEffect): void {
    if (effect.kind === 'saveSeen') {
      this.#seen.set(effect.envelopeId, effect.messageId)
      if (effect.messageId !== undefined) this.#messages.set(effect.messageId, 'delivered')
    } else if (effect.kind === 'archive') this.#messages.set(effect.id, 'handled')
    else if (effect.kind === 'answer') this.answers.push(effect.status)
    else if (effect.kind === 'consumePrekeys') {
      this.agent.consume({ consumed: effect.consumed } as never)
    }
  }
}

/** Alice, who writes first, and Bob. */
export function pairUp(
  primitives: Primitives,
  options: PartyOptions = {},
): readonly [Party, Party] {
  const agents = [makeAgent(primitives, 'Alice'), makeAgent(primitives, 'Bob')] as const
  const frozen = options.frozen ?? false
  return [
    new Party(primitives, agents[0], agents[1], options.aliceTrusts ?? 'stranger', frozen),
    new Party(primitives, agents[1], agents[0], options.bobTrusts ?? 'contact', frozen),
  ]
}

function deepFreeze(value: unknown): void {
  if (typeof value !== 'object' || value === null || Object.isFrozen(value)) return
  if (ArrayBuffer.isView(value)) return // octets cannot be frozen
  Object.freeze(value)
  for (const inner of Object.values(value)) deepFreeze(inner)
}
