import { transportContract } from './transport.ts'

transportContract({
  name: 'memory',
  transports: ['memory'],
  listen: '/memory/contract',
  betweenProcesses: false,
}).run()
