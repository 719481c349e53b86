// Key packages of those who are to be invited: of a few peers at a time, tried again where the network failed, all or
// none. Floor 3.
import { setTimeout as delay } from 'node:timers/promises'
import type { Bytes } from '../../protocols/base/bytes.ts'
import { ConclaveError } from '../../protocols/base/errors.ts'
import type { PeerId } from '../../protocols/base/ids.ts'
import type { MlsEngine } from '../../protocols/group/mls-engine.ts'
import type { Change } from '../../protocols/group/state.ts'
import type { Spare, SpareKeyPackages } from './spare-key-packages.ts'

/* Implementation constants: ours to tune. */
/** Peers that are asked at the same time. */
export const INVITED_AT_ONCE = 16
/** Pauses before a peer is asked again. */
const PAUSES_MS: readonly number[] = [500, 1_500]
/** Peers that an error names. */
const NAMED_MAX = 5

/** Where key packages come from. */
export interface InvitingPorts {
  /** One from the peer or its custodians; undefined where they hand out no more. */
  readonly fetch: (peer: PeerId, signal: AbortSignal) => Promise<Bytes | undefined>
  readonly spares: Pick<SpareKeyPackages, 'take' | 'giveBack'>
  readonly engine: Pick<MlsEngine, 'readKeyPackage'>
}

/** What an invitation is bounded by, and who hears how far it is. */
export interface InvitingOptions {
  readonly signal: AbortSignal
  readonly onFetched: () => void
}

/**
 * Fetches a key package of each peer.
 *
 * @throws ConclaveError the code of the first peer's failure, naming all that failed; nothing was used up here then.
 */
export async function fetchAdds(
  ports: InvitingPorts,
  peers: readonly PeerId[],
  { signal, onFetched }: InvitingOptions,
): Promise<Change[]> {
  const adds = new Map<PeerId, Change>()
  const failures = new Map<PeerId, unknown>()
  const taken = new Map<PeerId, Spare>()
  const waiting = [...peers]
  const work = async (): Promise<void> => {
    for (;;) {
      const peer = waiting.shift()
      if (peer === undefined) return
      try {
        const add = await addOf(ports, peer, signal, (spare) => taken.set(peer, spare))
        adds.set(peer, add)
        onFetched()
      } catch (error) {
        failures.set(peer, error)
      }
    }
  }
  await Promise.all(Array.from({ length: INVITED_AT_ONCE }, work))
  if (failures.size > 0) {
    for (const [peer, spare] of taken) await ports.spares.giveBack(peer, spare)
    throw failureOf(peers, failures)
  }
  return peers.flatMap((peer) => adds.get(peer) ?? [])
}

async function addOf(
  ports: InvitingPorts,
  peer: PeerId,
  signal: AbortSignal,
  onSpare: (spare: Spare) => void,
): Promise<Change> {
  const keyPackage = await keyPackageOf(ports, peer, signal, onSpare)
  const facts = await ports.engine.readKeyPackage(keyPackage)
  if (!facts.ok || facts.value.peer !== peer) {
    throw new ConclaveError('VERIFY_IDENTITY_MISMATCH', `${peer} handed out a false key package`)
  }
  return { kind: 'add', peer, keyPackage, ref: facts.value.ref }
}

/** A fresh one if the peer is there or left some with a custodian, else the one in reserve. */
async function keyPackageOf(
  { fetch, spares }: InvitingPorts,
  peer: PeerId,
  signal: AbortSignal,
  onSpare: (spare: Spare) => void,
): Promise<Bytes> {
  for (let attempt = 0; ; attempt++) {
    try {
      signal.throwIfAborted()
      const keyPackage = await fetch(peer, signal)
      if (keyPackage !== undefined) return keyPackage
      break
    } catch (error) {
      signal.throwIfAborted()
      const spare = attempt === 0 ? await spares.take(peer) : undefined
      if (spare !== undefined) {
        onSpare(spare)
        return spare.keyPackage
      }
      const pauseMs = PAUSES_MS[attempt]
      if (pauseMs === undefined || !isTransient(error)) throw error
      await delay(pauseMs, undefined, { signal }).catch(() => {
        throw error // why it failed says more than that the time was up
      })
    }
  }
  throw new ConclaveError('LIMIT_QUOTA', `${peer} hands out no more key packages now`, {
    hint: 'try again later',
  })
}

function isTransient(error: unknown): boolean {
  return error instanceof ConclaveError && error.family === 'NETWORK'
}

/** The first failure that says something, with the names of all peers that failed. */
function failureOf(peers: readonly PeerId[], failures: ReadonlyMap<PeerId, unknown>): unknown {
  const failed = peers.filter((peer) => failures.has(peer))
  const telling = failed.find((peer) => failures.get(peer) instanceof ConclaveError)
  const first = telling === undefined ? undefined : failures.get(telling)
  if (!(first instanceof ConclaveError)) return [...failures.values()][0]
  if (failed.length === 1) return first
  const named = failed.slice(0, NAMED_MAX).join(', ')
  const more = failed.length > NAMED_MAX ? ` and ${failed.length - NAMED_MAX} more` : ''
  return new ConclaveError(
    first.code,
    `nobody was invited: no key package of ${failed.length} of ${peers.length} peers: ${named}${more}; of the first: ${first.message}`,
    {
      hint: first.hint ?? 'invite the others without them, or try again later',
      cause: first,
      data: { failed },
    },
  )
}
