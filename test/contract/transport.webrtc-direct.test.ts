import { isAvailable } from '../../src/host/transports.ts'
import { endNativeThreads } from '../support/hosts.ts'
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

endNativeThreads(test)
test.run()
