//! Plain values as parameters and results of statements, and the mapping between Latchkey's types and these values.

use crate::domain::keys::KeyId;
use crate::domain::time::Timestamp;
use crate::domain::uid::Uid;
use crate::error::Result;
use rusqlite::types::{ToSqlOutput, ValueRef};

/// A plain value, as a parameter or a result.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Blob(Vec<u8>),
    Int(i64),
    Null,
    Text(String),
}

/// A type that can be a parameter.
pub trait ToValue {
    fn to_value(&self) -> Value;
}

/// A type that a column can be read as.
pub trait FromValue: Sized {
    fn from_value(value: ValueRef<'_>) -> Option<Self>;
}

impl ToValue for i64 {
    fn to_value(&self) -> Value {
        Value::Int(*self)
    }
}

impl ToValue for u64 {
    /// Numbers above 2^63 are refused when a request is parsed.
    fn to_value(&self) -> Value {
        Value::Int(i64::try_from(*self).unwrap_or(i64::MAX))
    }
}

impl ToValue for u32 {
    fn to_value(&self) -> Value {
        Value::Int(i64::from(*self))
    }
}

impl ToValue for bool {
    fn to_value(&self) -> Value {
        Value::Int(i64::from(*self))
    }
}

impl ToValue for str {
    fn to_value(&self) -> Value {
        Value::Text(self.to_owned())
    }
}

impl ToValue for &str {
    fn to_value(&self) -> Value {
        Value::Text((*self).to_owned())
    }
}

impl ToValue for String {
    fn to_value(&self) -> Value {
        Value::Text(self.clone())
    }
}

impl<const N: usize> ToValue for [u8; N] {
    fn to_value(&self) -> Value {
        Value::Blob(self.to_vec())
    }
}

impl ToValue for Vec<u8> {
    fn to_value(&self) -> Value {
        Value::Blob(self.clone())
    }
}

impl ToValue for Timestamp {
    fn to_value(&self) -> Value {
        Value::Int(self.0)
    }
}

impl ToValue for Uid {
    fn to_value(&self) -> Value {
        Value::Text(self.to_string())
    }
}

impl ToValue for KeyId {
    fn to_value(&self) -> Value {
        Value::Text(self.to_string())
    }
}

impl<T: ToValue> ToValue for Option<T> {
    fn to_value(&self) -> Value {
        self.as_ref().map_or(Value::Null, ToValue::to_value)
    }
}

impl FromValue for i64 {
    fn from_value(value: ValueRef<'_>) -> Option<i64> {
        value.as_i64().ok()
    }
}

impl FromValue for u64 {
    fn from_value(value: ValueRef<'_>) -> Option<u64> {
        value.as_i64().ok()?.try_into().ok()
    }
}

impl FromValue for u32 {
    fn from_value(value: ValueRef<'_>) -> Option<u32> {
        value.as_i64().ok()?.try_into().ok()
    }
}

impl FromValue for bool {
    fn from_value(value: ValueRef<'_>) -> Option<bool> {
        value.as_i64().ok().map(|number| number != 0)
    }
}

impl FromValue for String {
    fn from_value(value: ValueRef<'_>) -> Option<String> {
        value.as_str().ok().map(str::to_owned)
    }
}

impl<const N: usize> FromValue for [u8; N] {
    fn from_value(value: ValueRef<'_>) -> Option<[u8; N]> {
        value.as_blob().ok()?.try_into().ok()
    }
}

impl FromValue for Vec<u8> {
    fn from_value(value: ValueRef<'_>) -> Option<Vec<u8>> {
        value.as_blob().ok().map(<[u8]>::to_vec)
    }
}

impl FromValue for Timestamp {
    fn from_value(value: ValueRef<'_>) -> Option<Timestamp> {
        value.as_i64().ok().map(Timestamp)
    }
}

impl FromValue for Uid {
    fn from_value(value: ValueRef<'_>) -> Option<Uid> {
        Uid::parse(value.as_str().ok()?)
    }
}

impl FromValue for KeyId {
    fn from_value(value: ValueRef<'_>) -> Option<KeyId> {
        KeyId::parse(value.as_str().ok()?)
    }
}

impl<T: FromValue> FromValue for Option<T> {
    fn from_value(value: ValueRef<'_>) -> Option<Option<T>> {
        match value {
            ValueRef::Null => Some(None),
            value => T::from_value(value).map(Some),
        }
    }
}

impl ToValue for Value {
    fn to_value(&self) -> Value {
        self.clone()
    }
}

impl rusqlite::ToSql for Value {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(self.borrowed()))
    }
}

impl Value {
    fn borrowed(&self) -> ValueRef<'_> {
        match self {
            Value::Blob(bytes) => ValueRef::Blob(bytes),
            Value::Int(number) => ValueRef::Integer(*number),
            Value::Null => ValueRef::Null,
            Value::Text(text) => ValueRef::Text(text.as_bytes()),
        }
    }

    /// Appends what [`super::Row::encode`] appends for a column with this value.
    pub fn encode(&self, out: &mut Vec<u8>) {
        encode(self.borrowed(), out);
    }
}

impl super::Row<'_> {
    /// All columns in their order, each in an unambiguous byte encoding: a letter for the type, then the value.
    pub fn bytes(&self) -> Result<Vec<Vec<u8>>> {
        let column = |position| self.row.get_ref(position).map_err(super::from_sqlite);
        (0..self.row.as_ref().column_count())
            .map(|position| Ok(bytes(column(position)?)))
            .collect()
    }
}

impl super::Row<'_> {
    /// Appends the columns of a range of positions in an unambiguous encoding: a letter for the type, the length for
    /// texts and blobs, then the value.
    pub fn encode(&self, columns: std::ops::Range<usize>, out: &mut Vec<u8>) -> Result<()> {
        for position in columns {
            encode(self.row.get_ref(position).map_err(super::from_sqlite)?, out);
        }
        Ok(())
    }
}

fn encode(value: ValueRef<'_>, out: &mut Vec<u8>) {
    let mut long = |letter: u8, bytes: &[u8]| {
        out.push(letter);
        out.extend((bytes.len() as u64).to_be_bytes());
        out.extend(bytes);
    };
    match value {
        ValueRef::Blob(bytes) => long(b'b', bytes),
        ValueRef::Text(bytes) => long(b't', bytes),
        ValueRef::Integer(number) => {
            out.push(b'i');
            out.extend(number.to_be_bytes());
        }
        ValueRef::Null => out.push(b'n'),
        ValueRef::Real(number) => {
            out.push(b'r');
            out.extend(number.to_be_bytes());
        }
    }
}

fn bytes(value: ValueRef<'_>) -> Vec<u8> {
    let with = |letter: u8, bytes: &[u8]| [&[letter], bytes].concat();
    match value {
        ValueRef::Blob(bytes) => with(b'b', bytes),
        ValueRef::Integer(number) => with(b'i', &number.to_be_bytes()),
        ValueRef::Null => with(b'n', &[]),
        ValueRef::Real(number) => with(b'r', &number.to_be_bytes()),
        ValueRef::Text(bytes) => with(b't', bytes),
    }
}
