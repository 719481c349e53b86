// Crashes while a first message goes over custodians, on a one-time prekey of theirs; `matrix-online.test.ts` says how to
// play more, or one.
import { runCrashSuite } from '../support/crash-suite.ts'

runCrashSuite(['first contact'])
