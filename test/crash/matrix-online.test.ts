// Crashes while both are there, and while both begin at once (direct design §12). Every failpoint of a recorded run is a
// case; second crashes, full disks and restored backups are as many as time allows, in a fixed order. `CASES=all` plays
// every one of them, which takes hours; `CASE='…'` plays one, as a failure names it.
import { crashSuite } from '../support/crash-suite.ts'

crashSuite(['online', 'crossed'])
