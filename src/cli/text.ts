// Results as people read them. Floor 5. What a peer wrote must not command the terminal that shows it.

// Controls (ESC among them), and marks that reorder the line they stand in.

const UNSAFE = /[\u0000-\u001f\u007f-\u009f\u200e\u200f\u202a-\u202e\u2066-\u2069]/g

/** One line of text, its controls shown as escapes. */
export function line(text: string): string {
  return text.replace(UNSAFE, (char) => {
    const code = char.charCodeAt(0).toString(16)
    return code.length > 2 ? `\\u${code.padStart(4, '0')}` : `\\x${code.padStart(2, '0')}`
  })
}

/** Text of several lines; each but the first is indented, so that none can pass for a result. */
export function block(text: string): string {
  return text.split(/\r?\n/).map(line).join('\n    ')
}

/** Text of a value, `-` for what is absent. */
export function cell(value: unknown): string {
  if (value === null || value === undefined || value === '') return '-'
  if (Array.isArray(value)) return value.map(cell).join(' ') || '-'
  return line(typeof value === 'string' ? value : JSON.stringify(value))
}

/** Names and values in two columns, one pair a line; a list has a line for each item. */
export function pairs(fields: Readonly<Record<string, unknown>>): string {
  const width = Math.max(...Object.keys(fields).map((name) => name.length))
  return Object.entries(fields)
    .flatMap(([name, value]) => {
      const items: readonly unknown[] = Array.isArray(value) && value.length > 0 ? value : [value]
      return items.map((item, i) => `${(i === 0 ? name : '').padEnd(width)}  ${cell(item)}`)
    })
    .join('\n')
}

/** Cells of one line, two spaces apart. */
export function cells(...values: readonly unknown[]): string {
  return values.map(cell).join('  ')
}

/** A duration in its two largest units, such as `3 h 12 min`. */
export function duration(seconds: number): string {
  const units = [
    [86_400, 'd'],
    [3_600, 'h'],
    [60, 'min'],
    [1, 's'],
  ] as const
  let left = Math.floor(seconds)
  const parts = units.flatMap(([size, unit]) => {
    const count = Math.floor(left / size)
    left -= count * size
    return count === 0 ? [] : [`${count} ${unit}`]
  })
  return parts.slice(0, 2).join(' ') || '0 s'
}

/** What a message says: its text, or its type and base64. */
export function saying(message: {
  readonly text?: string
  readonly base64?: string
  readonly type: string
}): string {
  if (message.text !== undefined) return block(message.text)
  return `${line(message.type)} base64:${cell(message.base64)}`
}
