// A disk that outlives its node: what was synced stays, what was not is lost; it may fill up, and be rolled back.
import type { Bytes } from '../../protocols/base/bytes.ts'
import type { Backing, Change, KeyRange } from '../../src/store/backing.ts'
import type { RowSeal } from '../../src/store/seal.ts'
import type { Probe } from './failpoints.ts'
import type { VirtualTime } from './virtual-time.ts'

/** How long a write takes. */
export const SYNC_MS = 1
/** How long after its batch was answered a `late` disk writes it. */
export const LATE_MS = 40

const SEPARATOR = '\u0001'

/** Rows as they are: what is tested here is not the seal. */
export const NO_SEAL: RowSeal = { seal: (_key, value) => value, open: (_key, sealed) => sealed }

/** One durable change, cut into table and key. */
export interface DiskChange {
  readonly table: string
  readonly key: string
  /** Undefined for a deletion. */
  readonly value: Bytes | undefined
  /** What was there before. */
  readonly before: Bytes | undefined
}

type Tables = Map<string, Map<string, Bytes>>

/** The durable rows of one machine. */
export class CrashDisk {
  #tables: Tables
  /** Called with every batch as it becomes durable. */
  onDurable: (changes: readonly DiskChange[]) => void = () => undefined
  /** Until then there is no room, and batches fail. */
  fullUntil = 0
  /** Whether a batch is answered before it is written: a broken disk, or a store that does not sync. */
  readonly isLate: boolean

  constructor(tables: Tables = new Map<string, Map<string, Bytes>>(), isLate = false) {
    this.#tables = tables
    this.isLate = isLate
  }

  /** Another disk with the same rows. */
  copy(isLate: boolean = this.isLate): CrashDisk {
    return new CrashDisk(clone(this.#tables), isLate)
  }

  /** Takes the rows of an older copy. */
  rollBack(copy: CrashDisk): void {
    this.#tables = clone(copy.#tables)
  }

  /** Takes one table of an older copy. */
  rollBackTable(copy: CrashDisk, table: string): void {
    this.#tables.set(table, new Map(copy.table(table)))
  }

  /** Rows in all tables. */
  get size(): number {
    return [...this.#tables.values()].reduce((sum, rows) => sum + rows.size, 0)
  }

  /** Rows of a table, by key. */
  table(name: string): ReadonlyMap<string, Bytes> {
    return this.#tables.get(name) ?? new Map<string, Bytes>()
  }

  /** How many rows there are of each kind that waits for something. */
  summary(): string {
    const tables = ['outbox', 'notice', 'inbox', 'held', 'request']
    const counts = tables.map((name) => `${this.table(name).size} ${name}`)
    return counts.filter((text) => !text.startsWith('0')).join(' ') || 'receipts'
  }

  /** The engine of one start of the node. */
  open(time: VirtualTime, probe: Probe): Backing {
    // What the node sees; the same as what is durable, unless the disk is late.
    const seen = this.isLate ? clone(this.#tables) : this.#tables
    const write = async (changes: readonly Change[]): Promise<void> => {
      await time.wait(SYNC_MS)
      const name = `disk.batch ${namesOf(changes)}`
      await probe.reach(`${name} lost`)
      if (time.now < this.fullUntil) {
        throw Object.assign(new Error('no space left on device'), { code: 'ENOSPC' })
      }
      if (this.isLate) {
        apply(seen, changes)
        time.after(LATE_MS, () => this.onDurable(apply(this.#tables, changes)))
      } else {
        this.onDurable(apply(this.#tables, changes))
      }
      await probe.reach(`${name} whole`)
    }
    return {
      get: (key) => Promise.resolve(find(seen, key)),
      batch: write,
      visit: (range) => visit(seen, range),
      async *keys(range) {
        for await (const [key] of visit(seen, range)) yield key
      },
      close: () => Promise.resolve(),
    }
  }
}

function clone(tables: Tables): Tables {
  return new Map([...tables].map(([name, rows]) => [name, new Map(rows)]))
}

function cut(full: string): [table: string, key: string] {
  const at = full.indexOf(SEPARATOR)
  return [full.slice(0, at), full.slice(at + 1)]
}

function namesOf(changes: readonly Change[]): string {
  return [...new Set(changes.map(({ key }) => cut(key)[0]))].join('+')
}

function find(tables: Tables, full: string): Bytes | undefined {
  const [table, key] = cut(full)
  return tables.get(table)?.get(key)
}

function apply(tables: Tables, changes: readonly Change[]): DiskChange[] {
  return changes.map((change) => {
    const [table, key] = cut(change.key)
    const rows = tables.get(table) ?? new Map<string, Bytes>()
    tables.set(table, rows)
    const before = rows.get(key)
    const value = change.type === 'put' ? change.value : undefined
    if (value === undefined) rows.delete(key)
    else rows.set(key, value)
    return { table, key, value, before }
  })
}

async function* visit(
  tables: Tables,
  range: KeyRange,
): AsyncIterable<readonly [key: string, value: Bytes]> {
  const [table] = cut(range.gte)
  const rows = tables.get(table) ?? new Map<string, Bytes>()
  const base = table + SEPARATOR
  const within = [...rows].filter(([key]) => base + key >= range.gte && base + key < range.lt)
  within.sort(([a], [b]) => (a < b ? -1 : 1))
  if (range.reverse) within.reverse()
  const wanted = range.limit < 0 ? within : within.slice(0, range.limit)
  for (const [key, value] of wanted) yield await Promise.resolve([base + key, value] as const)
}
