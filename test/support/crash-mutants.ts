// Nodes that answer before they commit: what the crash matrix must find.
import type { Bytes } from '../../protocols/base/bytes.ts'
import { toTimeMs } from '../../protocols/base/time.ts'
import { envelopeIdOf } from '../../protocols/direct/envelope.ts'
import { decodeDirectFrame, encodeDirectFrame } from '../../protocols/direct/frames.ts'
import { DIRECT_PROTOCOL } from '../../protocols/direct/types.ts'
import { decodeMailboxFrame, encodeMailboxFrame } from '../../protocols/mailbox/frames.ts'
import type { DepositRequest } from '../../protocols/mailbox/frames.ts'
import { signReceipt } from '../../protocols/mailbox/storage-receipt.ts'
import { MAILBOX_PROTOCOL } from '../../protocols/mailbox/types.ts'
import { native } from '../../src/crypto/native.ts'
import type { FrameStream, Host } from '../../src/host/types.ts'
import { quick } from './crash-oracle.ts'
import { peerOf } from './crash-world.ts'
import { SEEDS } from './direct-node.ts'
import type { Name } from './hosts.ts'

/** What to send at once for a frame that came, and which frames of the node's own to swallow then. */
interface Haste {
  readonly protocol: string
  readonly reply: (frame: Bytes) => Bytes | undefined
  readonly isSwallowed: (frame: Bytes) => boolean
}

/** A host that replies before its node knows of the question. */
export function hastyHost(host: Host, haste: Haste): Host {
  const wrap = (stream: FrameStream, protocol: string): FrameStream =>
    protocol === haste.protocol ? hastyStream(stream, haste) : stream
  const hasty: Partial<Host> = {
    open: async (peer, protocol, options) =>
      wrap(await host.open(peer, protocol, options), protocol),
    handle: (protocol, options, handler) =>
      host.handle(protocol, options, (stream) => handler(wrap(stream, protocol))),
  }
  return new Proxy(host, {
    get(target, name) {
      const value: unknown = Reflect.get(name in hasty ? hasty : target, name)
      return typeof value === 'function' ? (value.bind(target) as unknown) : value
    },
  })
}

function hastyStream(stream: FrameStream, { reply, isSwallowed }: Haste): FrameStream {
  async function* frames(): AsyncGenerator<Bytes> {
    for await (const frame of stream.frames) {
      const answer = reply(frame)
      if (answer !== undefined) await stream.send(answer)
      yield frame
    }
  }
  return {
    ...stream,
    peer: stream.peer,
    closed: stream.closed,
    frames: { [Symbol.asyncIterator]: frames },
    send: (frame, options) =>
      isSwallowed(frame) ? Promise.resolve() : stream.send(frame, options),
    close: () => stream.close(),
    abort: (reason) => stream.abort(reason),
  }
}

/** Answers ACCEPTED to every envelope before it was opened, let alone saved. */
export const ACCEPTS_EARLY: Haste = {
  protocol: DIRECT_PROTOCOL,
  reply(bytes) {
    const frame = decodeDirectFrame(bytes)
    if (!frame.ok || frame.value.kind !== 'send') return undefined
    const { requestId, envelope } = frame.value
    const envelopeId = envelopeIdOf(native, envelope)
    return encodeDirectFrame({ kind: 'result', requestId, envelopeId, status: 'accepted' })
  },
  isSwallowed(bytes) {
    const frame = decodeDirectFrame(bytes)
    return frame.ok && frame.value.kind === 'result'
  },
}

/** Signs a receipt for every deposit before it was judged, let alone saved. */
export function signsEarly(custodian: Name, now: () => number): Haste {
  const sign = ({ recipient, leaseId, ttlMs, envelope }: DepositRequest): Bytes =>
    signReceipt(quick, new Uint8Array(32).fill(SEEDS[custodian]), {
      custodian: peerOf(custodian),
      recipient,
      leaseId,
      envelopeId: envelopeIdOf(native, envelope),
      size: envelope.length,
      storedAt: toTimeMs(now()),
      expiresAt: toTimeMs(now() + ttlMs),
    })
  return {
    protocol: MAILBOX_PROTOCOL,
    reply(bytes) {
      const frame = decodeMailboxFrame(bytes)
      if (!frame.ok || frame.value.kind !== 'deposit') return undefined
      const { requestId, deposit } = frame.value
      return encodeMailboxFrame({ kind: 'receipt', requestId, receipt: sign(deposit) })
    },
    isSwallowed(bytes) {
      const frame = decodeMailboxFrame(bytes)
      return frame.ok && frame.value.kind === 'receipt'
    },
  }
}
