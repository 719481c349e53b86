// Ties schemas to the types of the node's service: they can't drift apart unseen. Floor 4.
import { Type } from 'typebox'
import type { Static, TObject, TProperties, TSchema, TUnsafe } from 'typebox'

/** True if both have the same fields and every `T` fits the schema. */
type Fits<T, S extends TSchema> = [
  Exclude<keyof T, keyof Static<S>>,
  Exclude<keyof Static<S>, keyof T>,
] extends [never, never]
  ? T extends Static<S>
    ? unknown
    : 'a field of the type does not fit the schema'
  : 'the type and the schema have different fields'

/** Checks at compile time that `schema` describes `T`, and answers it as a schema of exactly `T`. */
export function shapeOf<T>(): <S extends TSchema>(schema: S & Fits<T, S>) => TUnsafe<T> {
  return (schema) => schema as unknown as TUnsafe<T>
}

/** An object of a request: fields that it doesn't name are refused. */
export function closed<P extends TProperties>(properties: P): TObject<P> {
  return Type.Object(properties, { additionalProperties: false })
}

/** A list of what `item` describes. */
export function listOf<T>(item: TUnsafe<T>): TUnsafe<T[]> {
  return Type.Array(item) as unknown as TUnsafe<T[]>
}

/** One of some words. */
export function oneOf<const W extends string>(...words: readonly W[]): TUnsafe<W> {
  return Type.Enum([...words]) as unknown as TUnsafe<W>
}

/** What `schema` describes, or null. */
export function orNull<S extends TSchema>(schema: S): TUnsafe<Static<S> | null> {
  return Type.Union([schema, Type.Null()]) as unknown as TUnsafe<Static<S> | null>
}
