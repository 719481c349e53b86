// Layering rules: `src` → `protocols`, never back; inside `src`, down only; each outside thing has one owner.

const ban = (name, from, to) => ({ name, severity: 'error', from, to })
const npm = (names) => ({ path: `^(node_modules/)?(${names})(/|$)` })
const core = (names) => ({ path: `^(node:)?(${names})$` })
const owns = (owner, to, files = `${owner}/`) =>
  ban(`${owner}-owns`, { path: '^src/', pathNot: `^src/(${files})` }, to)

export default {
  forbidden: [
    ban('no-cycles', {}, { circular: true }),
    ban('no-unresolved', {}, { couldNotResolve: true }),
    ban('protocols-pure', { path: '^protocols/' }, { path: '^(src|test|scripts)/' }),
    ban('protocols-no-io', { path: '^protocols/' }, { dependencyTypes: ['core'] }),
    ban(
      'protocols-npm',
      { path: '^protocols/' },
      {
        path: '^node_modules/',
        pathNot: '^node_modules/(@bufbuild/protobuf|multiformats|ts-mls)/',
      },
    ),
    ban('mls-in-group', { pathNot: '^(protocols/group|test|scripts/bench)/' }, npm('ts-mls')),
    ban(
      'protocols-share-types',
      { path: '^protocols/([^/]+)/' },
      {
        path: '^protocols/[^/]+/',
        pathNot: ['^protocols/base/', '^protocols/$1/', '/types\\.ts$'],
      },
    ),
    ban('floor-1', { path: '^src/(host|store|crypto)/' }, { path: '^src/', pathNot: '^src/$1/' }),
    ban('driver', { path: '^src/driver\\.ts$' }, { path: '^src/(?!store/|crypto/)' }),
    ban(
      'handlers',
      { path: '^src/handlers/([^/.]+)[/.]' },
      { path: '^src/(handlers|node|api|cli)/', pathNot: '^src/handlers/$1[/.]' },
    ),
    ban('floor-3', { path: '^src/node/' }, { path: '^src/(api|cli)/' }),
    ban('floor-4', { path: '^src/api/' }, { path: '^src/(?!api/|node/)' }),
    ban('client-is-thin', { path: '^src/api/client' }, { path: '^src/(?!api/)' }),
    ban('cli-through-api', { path: '^src/cli/' }, { path: '^src/(?!cli/|api/client)' }),
    ban('roots', { path: '^src/' }, { path: '^(test|scripts)/|^src/(main|index)\\.ts$' }),
    owns('host', npm('libp2p|@libp2p|@chainsafe|@multiformats')),
    owns('store', core('fs|fs/promises|sqlite'), 'store/|api/'),
    owns('store', npm('classic-level|abstract-level')),
    owns('crypto', core('crypto')),
    owns('crypto', npm('@noble')),
    owns('sockets', core('net|tls|dgram|http|https|http2'), 'host/|api/|handlers/tunnel\\.ts$'),
  ],
  options: {
    tsConfig: { fileName: 'tsconfig.json' },
    tsPreCompilationDeps: true,
    doNotFollow: { path: 'node_modules' },
    enhancedResolveOptions: {
      exportsFields: ['exports'],
      conditionNames: ['import', 'node', 'default'],
    },
  },
}
