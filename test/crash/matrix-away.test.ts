// Crashes while mail goes over custodians within a session; `matrix-online.test.ts` says how to play more, or one.
import { crashSuite } from '../support/crash-suite.ts'

crashSuite(['away'])
