// Crashes while a first message goes over custodians, on a one-time prekey of theirs; `matrix-online.test.ts` says how to
// play more, or one.
import { crashSuite } from '../support/crash-suite.ts'

crashSuite(['first contact'])
