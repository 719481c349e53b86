// The GROUP argument: a name, an id, or an unambiguous prefix of one. Floor 3.
import { ConclaveError } from '../../protocols/base/errors.ts'
import { parsePeerId } from '../../protocols/base/ids.ts'
import { parseGroupId } from '../../protocols/group/ids.ts'

const GROUP_PREFIX_DIGITS_MIN = 6

/** A group as it may be named. */
export interface NamedGroup {
  readonly id: string
  readonly name: string
  readonly isCurrent: boolean
}

/** Finds a group by name, id, or unambiguous prefix; one that this agent is in goes before one that it was in. */
export function findGroup(text: string, all: readonly NamedGroup[]): string {
  const pick = (found: readonly NamedGroup[]): string | undefined => {
    const ids = [...new Set(found.map(({ id }) => id))]
    const current = [...new Set(found.filter((one) => one.isCurrent).map(({ id }) => id))]
    const [only] = current.length > 0 ? current : ids
    if ((current.length > 0 ? current : ids).length > 1) throw ambiguous(text, found)
    return only
  }
  const id = parseGroupId(text)
  const byId = id === undefined ? undefined : all.find((one) => one.id === id)?.id
  const byName = byId ?? pick(all.filter(({ name }) => name === text))
  if (byName !== undefined) return byName
  const isPrefix = new RegExp(`^[0-9a-f]{${GROUP_PREFIX_DIGITS_MIN},63}$`, 'i').test(text)
  const byPrefix = isPrefix
    ? pick(all.filter((one) => one.id.startsWith(text.toLowerCase())))
    : undefined
  if (byPrefix !== undefined) return byPrefix
  throw unknownGroup(text, all)
}

function ambiguous(text: string, found: readonly NamedGroup[]): ConclaveError {
  const ids = found.slice(0, 4).map(({ id }) => id.slice(0, 12))
  return new ConclaveError('USAGE_AMBIGUOUS', `${text.slice(0, 80)} names more than one group`, {
    hint: `give more of its id: ${ids.join(', ')}`,
  })
}

/** Makes the error for a group that there is not. */
export function unknownGroup(text: string, all: readonly NamedGroup[]): ConclaveError {
  const names = all.filter(({ isCurrent }) => isCurrent).map(({ name }) => name)
  const isPeer = parsePeerId(text) !== undefined
  return new ConclaveError('USAGE_GROUP_UNKNOWN', `there is no group ${text.slice(0, 80)}`, {
    hint: isPeer
      ? 'this is a peer ID: give the group first'
      : names.length > 0
        ? `known are ${names.slice(0, 8).join(', ')}`
        : 'conclave group create NAME makes one',
  })
}
