// X25519 public keys that both implementations refuse before they compute. Floor 1 (spec: direct §3).
// RFC 7748 reduces u ≥ p and masks the high bit, so that two encodings would name one key: an
// attacker could replay a message under another encoding. Here a key has one encoding only.
import type { Bytes } from '../../protocols/base/bytes.ts'

/**
 * True if `key` is 32 bytes and encodes u below 2^255 - 19 with a clear high bit, little-endian.
 *
 * Low-order points pass here: they yield the all-zero result, which `dh` refuses.
 */
export function isCanonicalU(key: Bytes): boolean {
  if (key.length !== 32) return false
  const top = key[31] ?? 0xff
  if (top !== 0x7f) return top < 0x7f
  for (let i = 30; i > 0; i--) if (key[i] !== 0xff) return true
  return (key[0] ?? 0xff) < 0xed
}
