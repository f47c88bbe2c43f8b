"""OTLP in: receivers, decoders and recordings. Everything ends as a columnar batch."""
