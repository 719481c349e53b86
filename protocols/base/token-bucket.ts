// Token buckets per name, for rate limits: a bounded number of them. Floor 0, pure: time is an argument.

/** How a bucket fills. */
export interface BucketRate {
  readonly burst: number
  readonly perSecond: number
}

interface Bucket {
  tokens: number
  atMs: number
}

/** Buckets by name; of too many, the one asked longest ago is forgotten, and is full when it comes back. */
export class TokenBuckets<Name> {
  readonly #rate: BucketRate
  readonly #namesMax: number
  readonly #buckets = new Map<Name, Bucket>()

  constructor(rate: BucketRate, namesMax: number) {
    this.#rate = rate
    this.#namesMax = namesMax
  }

  /** Takes a token if there is one. */
  take(name: Name, nowMs: number): boolean {
    const bucket = this.#bucket(name, nowMs)
    if (bucket.tokens < 1) return false
    bucket.tokens -= 1
    return true
  }

  /** True if `take` would answer true. */
  has(name: Name, nowMs: number): boolean {
    return this.#bucket(name, nowMs).tokens >= 1
  }

  #bucket(name: Name, nowMs: number): Bucket {
    const { burst, perSecond } = this.#rate
    const bucket = this.#buckets.get(name) ?? { tokens: burst, atMs: nowMs }
    const elapsedMs = Math.max(0, nowMs - bucket.atMs)
    bucket.tokens = Math.min(burst, bucket.tokens + (elapsedMs * perSecond) / 1_000)
    bucket.atMs = Math.max(nowMs, bucket.atMs)
    this.#buckets.delete(name) // the order of a map is the order of the last uses
    this.#buckets.set(name, bucket)
    if (this.#buckets.size > this.#namesMax) {
      const [oldest] = this.#buckets.keys()
      if (oldest !== undefined) this.#buckets.delete(oldest)
    }
    return bucket
  }
}
