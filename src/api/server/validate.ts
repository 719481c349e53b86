// Validates requests by the schemas that also describe them, and says what to write instead. Floor 4.
import type { FastifySchemaCompiler } from 'fastify'
import { Compile } from 'typebox/compile'
import { Value } from 'typebox/value'
import type { TSchema } from 'typebox'
import { ConclaveError } from '../../../protocols/base/errors.ts'
import { nearest } from '../../../protocols/base/nearest.ts'

type Failure = ReturnType<ReturnType<typeof Compile>['Errors']>[number]

/** Compiles a schema into a check of one part of a request. Only text (path, query, headers) is converted. */
export const compileCheck: FastifySchemaCompiler<TSchema> = ({ schema, httpPart }) => {
  const check = Compile(schema)
  const part = httpPart ?? 'request'
  return (value: unknown) => {
    const converted = part === 'body' ? value : Value.Convert(schema, value)
    if (check.Check(converted)) return { value: converted }
    return { error: explain(check.Errors(converted), part, schema) }
  }
}

function explain(failures: readonly Failure[], part: string, schema: TSchema): ConclaveError {
  const known = knownFields(schema)
  const where = part === 'querystring' ? 'query' : part
  for (const failure of failures) {
    if (failure.keyword !== 'additionalProperties') continue
    const [field = ''] = failure.params.additionalProperties
    const near = nearest(field, known)
    return new ConclaveError('USAGE_ARGUMENT', `the ${where} has an unknown field: ${field}`, {
      hint:
        near === undefined ? `known are: ${known.join(', ') || 'none'}` : `did you mean ${near}?`,
    })
  }
  const [failure] = failures
  const field = failure?.instancePath.slice(1).replaceAll('/', '.') ?? ''
  const said = `${field === '' ? `the ${where}` : `${field} of the ${where}`} ${claim(failure)}`
  return new ConclaveError('USAGE_ARGUMENT', said, {
    hint: known.length === 0 ? 'GET /v1/openapi.json describes it' : `fields: ${known.join(', ')}`,
  })
}

function claim(failure: Failure | undefined): string {
  if (failure === undefined) return 'is not valid'
  switch (failure.keyword) {
    case 'required':
      return `lacks ${failure.params.requiredProperties.join(', ')}`
    case 'enum':
      return `must be one of ${failure.params.allowedValues.map(String).join(', ')}`
    case 'pattern':
      return 'has characters that do not belong there'
    default:
      return failure.message
  }
}

function knownFields(schema: TSchema): string[] {
  const { properties } = schema as { properties?: object }
  return Object.keys(properties ?? {})
}
