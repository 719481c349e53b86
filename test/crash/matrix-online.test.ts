// Crashes while both are there, and while both begin at once (direct design §12). The failpoints are those of a recorded
// run; each side of each batch, each frame and each call of the host is a case, of reads and of what only repeats a side
// of a batch a part. Second crashes, full disks and restored backups are as many as time allows, in a fixed order.
// `CASES=all` plays every one of them, which takes hours; `CASE='…'` plays one, as a failure names it.
import { runCrashSuite } from '../support/crash-suite.ts'

runCrashSuite(['online', 'crossed'])
