// The sealed log of one group: frames as they travelled, kept for those who were away (group spec.md §3.7). Floor 3.
// An index of ids is in memory; frames are rows.
import type { Bytes } from '../../protocols/base/bytes.ts'
import type { Primitives } from '../../protocols/base/primitives.ts'
import { HOUR_MS } from '../../protocols/base/time.ts'
import { compareKeys, printOf } from '../../protocols/group/sync-frames.ts'
import type { LogKey, LogRange } from '../../protocols/group/sync-frames.ts'
import { LOG_BYTES_MAX, LOG_MS } from '../../protocols/group/types.ts'
import type { FrameId, GroupId } from '../../protocols/group/types.ts'
import { del, put } from '../store/types.ts'
import type { Op, Store } from '../store/types.ts'
import { frameKeyOf, GROUP_TABLES, packLength, parseFrameKey, unpackLength } from './group-rows.ts'

interface LogLine extends LogKey {
  readonly length: number
}

/** Frames of one group. */
export class GroupLog {
  readonly #groupId: GroupId
  readonly #primitives: Primitives
  readonly #lines: LogLine[]
  readonly #hours = new Map<FrameId, number>()
  #bytes = 0

  constructor(primitives: Primitives, groupId: GroupId, lines: readonly LogLine[]) {
    this.#primitives = primitives
    this.#groupId = groupId
    this.#lines = [...lines]
    for (const { id, hour, length } of lines) {
      this.#hours.set(id, hour)
      this.#bytes += length
    }
  }

  has(id: FrameId): boolean {
    return this.#hours.has(id)
  }

  get count(): number {
    return this.#lines.length
  }

  /** Notes a frame and answers its rows, and those that end what is past its time or too much. */
  append(id: FrameId, hour: number, frame: Bytes, nowMs: number): Op[] {
    if (this.#hours.has(id)) return []
    const line = { id, hour, length: frame.length }
    this.#lines.splice(this.#indexOf(line), 0, line)
    this.#hours.set(id, hour)
    this.#bytes += frame.length
    const key = frameKeyOf(this.#groupId, hour, id)
    const ops = [
      put(GROUP_TABLES.frame, key, frame),
      put(GROUP_TABLES.log, key, packLength(frame.length)),
    ]
    const oldestHour = Math.floor((nowMs - LOG_MS) / HOUR_MS)
    for (;;) {
      const [oldest] = this.#lines
      if (oldest === undefined) break
      if (oldest.hour >= oldestHour && this.#bytes <= LOG_BYTES_MAX) break
      this.#lines.shift()
      this.#hours.delete(oldest.id)
      this.#bytes -= oldest.length
      const gone = frameKeyOf(this.#groupId, oldest.hour, oldest.id)
      ops.push(del(GROUP_TABLES.frame, gone), del(GROUP_TABLES.log, gone))
    }
    return ops
  }

  /** Ids of a range, `to` left out. */
  keys(from: LogKey, to: LogKey): readonly LogKey[] {
    return this.#lines.slice(this.#indexOf(from), this.#indexOf(to))
  }

  /** Count and fingerprint of a range. */
  range(from: LogKey, to: LogKey): LogRange {
    const ids = this.keys(from, to).map(({ id }) => id)
    return { from, to, ...printOf(this.#primitives, ids) }
  }

  /** The row of a frame that is in the log. */
  rowKey(id: FrameId): string | undefined {
    const hour = this.#hours.get(id)
    return hour === undefined ? undefined : frameKeyOf(this.#groupId, hour, id)
  }

  /** The first line that is not before `key`. */
  #indexOf(key: LogKey): number {
    let low = 0
    let high = this.#lines.length
    while (low < high) {
      const middle = (low + high) >> 1
      const line = this.#lines[middle]
      if (line !== undefined && compareKeys(line, key) < 0) low = middle + 1
      else high = middle
    }
    return low
  }
}

/** Reads the index of a group's log. */
export async function openGroupLog(
  store: Store,
  primitives: Primitives,
  groupId: GroupId,
): Promise<GroupLog> {
  const lines: LogLine[] = []
  for await (const { key, value } of store.rows(GROUP_TABLES.log, { prefix: `${groupId}/` })) {
    lines.push({ ...parseFrameKey(key), length: unpackLength(value) })
  }
  return new GroupLog(primitives, groupId, lines)
}
