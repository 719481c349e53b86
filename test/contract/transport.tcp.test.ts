import { transportContract } from './transport.ts'

transportContract({ name: 'tcp', transports: ['tcp'], listen: '/ip4/127.0.0.1/tcp/0' }).run()
