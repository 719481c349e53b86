// The rows of a machine's effects: what is saved beside the state, in the same batch. Floor 3.
import type { Bytes } from '../../protocols/base/bytes.ts'
import type { PeerId } from '../../protocols/base/ids.ts'
import type { TimeMs } from '../../protocols/base/time.ts'
import type { MessageId } from '../../protocols/direct/types.ts'
import { COPIES_WANTED } from '../../protocols/mailbox/types.ts'
import type {
  Conversation,
  ConversationEffect,
  Copies,
  Trust,
} from '../../protocols/direct/conversation.ts'
import type { Op } from '../store/types.ts'
import type { ContactBook } from './contacts.ts'
import type { EventLog } from './events.ts'
import type { Inbox, Located } from './inbox.ts'
import type { PrekeyKeeper } from './prekey-keeper.ts'

/** What a handoff's taker answers: rows of the same batch, and what to do once they are durable. */
export interface Taken {
  readonly ops: readonly Op[]
  readonly after: () => void
}

/** Takes handoffs of one protocol; undefined refuses one, which is then forgotten. Called inside a batch: no await. */
export type HandoffTaker = (
  from: PeerId,
  content: Bytes,
  facts: { readonly isContact: boolean; readonly trust: Trust },
) => Taken | undefined

/** Where rows come from. */
export interface EffectPorts {
  readonly inbox: Inbox
  readonly events: EventLog
  readonly book: ContactBook
  readonly keeper: PrekeyKeeper
  readonly now: () => TimeMs
  /** Who takes handoffs, by protocol. */
  readonly takers: Map<string, HandoffTaker>
  /** Messages being marked as handled, by peer and id. */
  readonly locating: ReadonlyMap<string, Located>
}

/** Rows of one effect; `after` once they are durable, `undo` if they did not become so. */
export interface EffectRows {
  readonly rows: readonly Op[]
  readonly after?: () => void
  readonly undo?: () => void
}

/** How far a message's mail got. */
export interface StateFacts {
  readonly via: 'direct' | 'mailbox' | null
  readonly copies: string | null
  readonly degraded: boolean
}

/** How far a message got, as somebody who waits hears it. */
export interface Report {
  readonly peer: PeerId
  readonly id: MessageId
  readonly state: 'stored' | 'delivered' | 'handled' | 'expired' | 'failed'
  readonly facts: StateFacts
}

const NO_ROWS: EffectRows = { rows: [] }

/** What is told of a message beside its state: how it went, and how many custodians have it. */
export function stateFacts({
  state,
  copies,
}: Pick<Extract<ConversationEffect, { kind: 'report' }>, 'state' | 'copies'>): StateFacts {
  if (copies === undefined) {
    const isThere = state === 'delivered' || state === 'handled'
    return { via: isThere ? 'direct' : null, copies: null, degraded: false }
  }
  return { via: 'mailbox', copies: copiesText(copies), degraded: copies.of < COPIES_WANTED }
}

/** Such as `2 of 3`. */
export function copiesText({ list, of }: Copies): string {
  return `${list.length} of ${Math.max(of, list.length)}`
}

/** The rows of one effect. Called while a batch is composed: no await. */
export function effectRows(
  ports: EffectPorts,
  { peer, trust }: Conversation,
  effect: ConversationEffect,
): EffectRows {
  const { inbox, events, book, keeper, now } = ports
  switch (effect.kind) {
    case 'saveSeen':
      return { rows: inbox.saveSeen(peer, effect.envelopeId, effect.messageId) }
    case 'saveMessage':
      return { rows: inbox.saveMessage(peer, effect.handed) }
    case 'saveHeld':
      return { rows: inbox.saveHeld(peer, effect.held) }
    case 'saveRequest':
      return { rows: inbox.saveRequest(peer, effect.held) }
    case 'saveHandoff': {
      const { id, protocol, content } = effect.handoff
      const facts = { isContact: trust !== 'stranger', trust }
      const taken = ports.takers.get(protocol)?.(peer, content, facts)
      const rows = [...inbox.saveHandoff(peer, id), ...(taken?.ops ?? [])]
      return taken === undefined ? { rows } : { rows, after: taken.after }
    }
    case 'consumePrekeys': {
      const { ops, undo } = keeper.consume(effect.consumed)
      return { rows: ops, undo }
    }
    case 'befriend': {
      const { ops, after } = book.set(peer, { name: null, verifiedKey: null, addedAt: now() })
      return { rows: ops, after }
    }
    case 'archive': {
      const located = ports.locating.get(`${peer}/${effect.id}`)
      return located === undefined ? NO_ROWS : { rows: inbox.archive(located) }
    }
    case 'reportIdentity': {
      const fact = { peerId: peer, name: book.nameOf(peer), identityChanged: true }
      return { rows: events.append('peer', fact) }
    }
    case 'reportReset': {
      const fact = { peerId: peer, name: book.nameOf(peer), sessionResetBy: effect.by }
      return { rows: events.append('peer', fact) }
    }
    case 'report': {
      if (effect.draft === 'handoff') return NO_ROWS
      const { id, state } = effect
      return { rows: events.append('state', { id, to: peer, state, ...stateFacts(effect) }) }
    }
    case 'transmit':
    case 'deposit':
    case 'answer':
    case 'lookUp':
    case 'openLink':
    case 'fetchBundle':
    case 'drawMore':
    case 'startTimer':
      return NO_ROWS
  }
}
