import { isAvailable } from '../../src/host/transports.ts'
import { skippedContract, transportContract } from './transport.ts'

const test = (await isAvailable('webrtc-direct'))
  ? transportContract({
      name: 'webrtc-direct',
      transports: ['webrtc-direct'],
      listen: '/ip4/127.0.0.1/udp/0/webrtc-direct',
      pauses: false,
      releases: false,
    })
  : skippedContract('webrtc-direct')

// Threads of its binary may outlive every connection; the report takes no longer than this.
const REPORT_MS = 1_000
test.after(() => void setTimeout(() => process.exit(), REPORT_MS))
test.run()
