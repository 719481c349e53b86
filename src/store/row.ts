// Rows of plain data: one version octet, then deterministic CBOR. Floor 1.
import { decode, encode } from 'cborg'
import { concat } from '../../protocols/base/bytes.ts'
import type { Bytes } from '../../protocols/base/bytes.ts'
import { ConclaveError } from '../../protocols/base/errors.ts'

/** Encodes plain data (numbers, text, booleans, null, bytes, arrays, objects without undefined). */
export function encodeRow(version: number, value: unknown): Bytes {
  return concat(Uint8Array.of(version), encode(value))
}

/**
 * Decodes what `encodeRow` made. Rows are authenticated, so their owner may cast what it gets.
 *
 * @throws ConclaveError `STORE_CORRUPT` for another version or bytes that are not CBOR.
 */
export function decodeRow(version: number, bytes: Bytes): unknown {
  if (bytes[0] !== version) {
    throw new ConclaveError('STORE_CORRUPT', `row of version ${String(bytes[0])}, not ${version}`, {
      hint: 'this home was written by another version of conclave',
    })
  }
  try {
    return decode(bytes.subarray(1))
  } catch (error) {
    throw new ConclaveError('STORE_CORRUPT', 'a row does not decode', { cause: error })
  }
}
