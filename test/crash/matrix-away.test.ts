// Crashes while mail goes over custodians within a session; `matrix-online.test.ts` says how to play more, or one.
import { runCrashSuite } from '../support/crash-suite.ts'

runCrashSuite(['away'])
