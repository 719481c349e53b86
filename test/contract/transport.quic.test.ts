import { isAvailable } from '../../src/host/transports.ts'
import { skippedContract, transportContract } from './transport.ts'

const listen = '/ip4/127.0.0.1/udp/0/quic-v1'
const test = (await isAvailable('quic'))
  ? transportContract({ name: 'quic', transports: ['quic'], listen })
  : skippedContract('quic')

test.run()
