// Lint rules: strict types everywhere, no clock and no randomness in protocols.
import tsdoc from 'eslint-plugin-tsdoc'
import tseslint from 'typescript-eslint'

const impure = ['setTimeout', 'setInterval', 'setImmediate', 'process', 'fetch', 'crypto']
const browser = ['window', 'document', 'localStorage', 'navigator', 'location']
const ban = (names, message) => names.map((name) => ({ name, message }))

export default tseslint.config(
  { ignores: ['**/*_pb.ts', 'dist/**', 'node_modules/**', 'coverage/**'] },
  {
    files: ['**/*.ts'],
    extends: [...tseslint.configs.strictTypeChecked],
    plugins: { tsdoc },
    languageOptions: {
      parserOptions: { project: '../tsconfig.json', tsconfigRootDir: import.meta.dirname },
    },
    linterOptions: { reportUnusedDisableDirectives: 'error' },
    rules: {
      '@typescript-eslint/switch-exhaustiveness-check': [
        'error',
        { considerDefaultExhaustiveForUnions: true },
      ],
      '@typescript-eslint/no-unused-vars': [
        'error',
        { argsIgnorePattern: '^_', varsIgnorePattern: '^_', destructuredArrayIgnorePattern: '^_' },
      ],
      '@typescript-eslint/restrict-template-expressions': ['error', { allowNumber: true }],
      '@typescript-eslint/consistent-type-imports': 'error',
      '@typescript-eslint/no-confusing-void-expression': ['error', { ignoreArrowShorthand: true }],
      '@typescript-eslint/no-unnecessary-condition': [
        'error',
        { allowConstantLoopConditions: 'only-allowed-literals' },
      ],
      'tsdoc/syntax': 'error',
      'max-lines': ['warn', { max: 400, skipComments: true }],
      'max-lines-per-function': ['warn', { max: 70, skipComments: true, skipBlankLines: true }],
      'max-params': ['warn', 5],
      'no-restricted-globals': ['error', ...ban(browser, 'conclave runs on Node')],
    },
  },
  {
    files: ['protocols/**/*.ts'],
    rules: {
      'no-restricted-globals': ['error', ...ban(impure, 'protocols are pure: pass it in')],
      'no-restricted-properties': [
        'error',
        { object: 'Math', property: 'random', message: 'protocols are pure: pass it in' },
        { object: 'Date', property: 'now', message: 'protocols are pure: pass it in' },
      ],
      'no-restricted-syntax': [
        'error',
        {
          selector: 'NewExpression[callee.name="Date"][arguments.length=0]',
          message: 'protocols are pure: pass it in',
        },
      ],
    },
  },
  {
    files: ['test/**/*.ts'],
    rules: {
      'max-lines': ['warn', { max: 500, skipComments: true }],
      'max-lines-per-function': 'off',
      '@typescript-eslint/require-await': 'off',
      '@typescript-eslint/unbound-method': 'off',
      '@typescript-eslint/no-non-null-assertion': 'off',
    },
  },
)
