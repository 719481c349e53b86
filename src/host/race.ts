// Several addresses of one peer dialled at once; the first connection wins. Floor 1.
import { setTimeout as sleep } from 'node:timers/promises'
import type { Connection } from '@libp2p/interface'
import type { Multiaddr } from '@multiformats/multiaddr'
import { isRelayed } from './addresses.ts'
import { listenable } from './signals.ts'
import { Slots } from './slots.ts'
import type { DialFact } from './types.ts'

/** Dials to one peer at once. */
const PEER_DIALS_AT_ONCE = 8

/** Short text for what went wrong, such as `ECONNREFUSED`. */
export function dialError(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  const { code } = error as NodeJS.ErrnoException
  if (typeof code === 'string') return code
  const [line = ''] = error.message.split('\n')
  return `${error.name}: ${line.slice(0, 200)}`
}

/** One race: a direct winner ends all other dials, a relayed one only the other relayed ones. */
export class Race {
  /** What each address answered so far. */
  readonly tried: DialFact[] = []
  /** Aborts when a direct connection has won or the race was given up. */
  readonly signal: AbortSignal
  readonly #over = new AbortController()
  readonly #relayOver = new AbortController()
  readonly #relaySignal: AbortSignal
  readonly #slots = new Slots(PEER_DIALS_AT_ONCE)
  readonly #dial: (address: Multiaddr, signal: AbortSignal) => Promise<Connection>
  #winner: Connection | undefined

  constructor(
    dial: (address: Multiaddr, signal: AbortSignal) => Promise<Connection>,
    signal: AbortSignal,
  ) {
    this.#dial = dial
    this.signal = listenable(AbortSignal.any([signal, this.#over.signal]))
    this.#relaySignal = listenable(AbortSignal.any([this.signal, this.#relayOver.signal]))
  }

  /** Dials all addresses after a delay; rejects with an AggregateError when none answers. */
  async run(addresses: readonly Multiaddr[], delayMs: number): Promise<Connection> {
    if (addresses.length > 0 && delayMs > 0) {
      await sleep(delayMs, undefined, { signal: this.#relaySignal })
    }
    return Promise.any(addresses.map((address) => this.#try(address)))
  }

  /** Ends what the winner makes useless, or everything when there is none. */
  finish(winner?: Connection): void {
    this.#winner ??= winner
    this.#relayOver.abort()
    if (winner === undefined || !isRelayed(winner.remoteAddr)) this.#over.abort()
  }

  async #try(address: Multiaddr): Promise<Connection> {
    const relayed = isRelayed(address)
    const signal = relayed ? this.#relaySignal : this.signal
    return this.#slots.use(async () => {
      const startedAt = performance.now()
      const ms = (): number => Math.round(performance.now() - startedAt)
      try {
        const connection = await this.#dial(address, signal)
        this.tried.push({ address: address.toString(), ok: true, ms: ms() })
        // A second connection to the same peer would only cost; a direct one beside a relayed one is wanted.
        const late = this.#winner !== undefined && (relayed || !isRelayed(this.#winner.remoteAddr))
        if (late) void connection.close().catch(() => undefined)
        else if (!relayed) this.#winner = connection
        return connection
      } catch (error) {
        this.tried.push({
          address: address.toString(),
          ok: false,
          error: dialError(error),
          ms: ms(),
        })
        throw error
      }
    }, signal)
  }
}
