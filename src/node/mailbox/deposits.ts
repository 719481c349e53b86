// Leaves envelopes with the recipient's custodians (mailbox spec.md §4.2). Floor 3.
import type { Bytes } from '../../../protocols/base/bytes.ts'
import { ConclaveError } from '../../../protocols/base/errors.ts'
import type { ErrorCode } from '../../../protocols/base/error-codes.ts'
import type { PeerId } from '../../../protocols/base/ids.ts'
import type { Primitives } from '../../../protocols/base/primitives.ts'
import { MINUTE_MS, toTimeMs } from '../../../protocols/base/time.ts'
import type { TimeMs } from '../../../protocols/base/time.ts'
import type { EnvelopeRef } from '../../../protocols/direct/conversation.ts'
import { MAILBOX_TTL_MS } from '../../../protocols/direct/types.ts'
import type { QueueKeyGrant } from '../../../protocols/direct/types.ts'
import { queueKeyIdFromBytes, signAuthorisation } from '../../../protocols/mailbox/authorisation.ts'
import { parseReceipt } from '../../../protocols/mailbox/storage-receipt.ts'
import type { Lease } from '../../../protocols/mailbox/types.ts'
import type { MailboxClient } from '../../handlers/mailbox-client.ts'
import type { DepositEffect } from '../conversations.ts'
import type { Heard } from '../conversation-queries.ts'
import type { NodeLog } from '../log.ts'
import type { ContactRecords } from './contact-records.ts'

/* Implementation constants: ours to tune. */
/** Envelopes being deposited at once; others wait, as their letters do in any case. */
export const DEPOSITS_AT_ONCE_MAX = 128
/** How long an authorisation for one deposit holds. */
export const AUTHORISATION_MS: number = 10 * MINUTE_MS

/** What deposits are made with. */
export interface DepositsOptions {
  readonly primitives: Primitives
  readonly now: () => TimeMs
  readonly records: ContactRecords
  readonly client: MailboxClient
  readonly log: NodeLog
  /** Tells the conversation what came of it. */
  readonly tell: (peer: PeerId, heard: Heard) => void
}

interface Waiting {
  readonly peer: PeerId
  readonly effect: DepositEffect
}

/** Deposits under way. */
export class Deposits {
  readonly #options: DepositsOptions
  readonly #closing = new AbortController()
  readonly #queue: Waiting[] = []
  #running = 0

  constructor(options: DepositsOptions) {
    this.#options = options
  }

  /** Begins a deposit with every custodian that does not have the envelope yet. Never throws. */
  deposit(peer: PeerId, effect: DepositEffect): void {
    this.#queue.push({ peer, effect })
    this.#pump()
  }

  close(): void {
    this.#closing.abort()
    this.#queue.length = 0
  }

  #pump(): void {
    while (this.#running < DEPOSITS_AT_ONCE_MAX && !this.#closing.signal.aborted) {
      const next = this.#queue.shift()
      if (next === undefined) return
      this.#running += 1
      void this.#run(next).finally(() => {
        this.#running -= 1
        this.#pump()
      })
    }
  }

  async #run({ peer, effect }: Waiting): Promise<void> {
    const { records, tell } = this.#options
    const { signal } = this.#closing
    const fail = (code: ErrorCode): void => {
      if (!signal.aborted) tell(peer, { kind: 'depositFailed', ref: effect.ref, code })
    }
    try {
      const record = await records.find(peer, signal)
      const leases = record === undefined ? [] : records.leases(record)
      const left = leases.filter(({ custodian }) => !effect.have.includes(custodian))
      if (leases.length === 0) {
        fail('NETWORK_NO_CUSTODIAN')
        return
      }
      const done = await Promise.all(
        left.map((lease) => this.#leave(peer, effect, lease, leases.length)),
      )
      const code = done.find((one) => one !== undefined)
      if (code !== undefined) fail(code)
    } catch {
      fail('NETWORK_NO_CUSTODIAN')
    }
  }

  /** Leaves an envelope with one custodian; answers why that failed. */
  async #leave(
    peer: PeerId,
    { ref, envelope, granted }: DepositEffect,
    lease: Lease,
    of: number,
  ): Promise<ErrorCode | undefined> {
    const { primitives, client, tell } = this.#options
    const { signal } = this.#closing
    const { custodian, leaseId, recipient } = lease
    const request = { recipient, leaseId, ttlMs: MAILBOX_TTL_MS, envelope }
    const asStranger = (): Promise<Bytes> => client.deposit(custodian, request, signal)
    const asContact = (key: QueueKeyGrant): Promise<Bytes> => {
      const authorisation = this.#authorise(ref, lease, key)
      return client.deposit(custodian, { ...request, authorisation }, signal)
    }
    try {
      const bytes =
        granted === undefined
          ? await asStranger()
          : await asContact(granted).catch((error: unknown) => {
              // A custodian that does not know the key (yet, or any more) may have room for strangers.
              if (codeOf(error) === 'MAILBOX_REFUSED') return asStranger()
              throw error
            })
      const { envelopeId } = ref
      const check = { custodian, recipient, leaseId, envelopeId, size: envelope.length }
      const receipt = parseReceipt(primitives, bytes, check)
      if (!receipt.ok) return receipt.code
      const { storedAt, expiresAt } = receipt.value
      if (!signal.aborted) {
        tell(peer, { kind: 'stored', ref, copy: { custodian, storedAt, expiresAt }, of })
      }
      return undefined
    } catch (error) {
      if (!signal.aborted) {
        this.#options.log.debug({ peer, custodian, error: String(error) }, 'a deposit was refused')
      }
      return codeOf(error)
    }
  }

  #authorise(ref: EnvelopeRef, { custodian, recipient }: Lease, granted: QueueKeyGrant): Bytes {
    const { primitives, now } = this.#options
    const id = queueKeyIdFromBytes(granted.id)
    if (id === undefined) throw new ConclaveError('BUG_INVARIANT', 'a queue key has its id')
    const facts = { custodian, recipient, envelopeId: ref.envelopeId }
    const expiresAt = toTimeMs(now() + AUTHORISATION_MS)
    return signAuthorisation(primitives, { id, seed: granted.seed }, facts, expiresAt)
  }
}

function codeOf(error: unknown): ErrorCode {
  return error instanceof ConclaveError ? error.code : 'NETWORK_RESET'
}
