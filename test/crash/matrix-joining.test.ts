// Crashes while an agent finds custodians and leaves prekeys with them; `matrix-online.test.ts` says how to play more, or one.
import { runCrashSuite } from '../support/crash-suite.ts'

runCrashSuite(['joining'])
