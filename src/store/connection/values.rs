//! Plain values as parameters and results of statements, and the mapping between Latchkey's types and these values.

use crate::domain::keys::KeyId;
use crate::domain::time::Timestamp;
use crate::domain::uid::Uid;

/// A plain value, as a parameter or a result.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Blob(Vec<u8>),
    Int(i64),
    Null,
    Text(String),
}

/// A plain value in a result, where the engine has it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ValueRef<'a> {
    Blob(&'a [u8]),
    Int(i64),
    Null,
    /// No column of ours has this type; a file that was changed without Latchkey may have one.
    Real(f64),
    /// UTF-8, unless the file was changed without Latchkey.
    Text(&'a [u8]),
}

impl<'a> ValueRef<'a> {
    fn int(self) -> Option<i64> {
        match self {
            ValueRef::Int(number) => Some(number),
            _ => None,
        }
    }

    fn text(self) -> Option<&'a str> {
        match self {
            ValueRef::Text(bytes) => std::str::from_utf8(bytes).ok(),
            _ => None,
        }
    }

    fn blob(self) -> Option<&'a [u8]> {
        match self {
            ValueRef::Blob(bytes) => Some(bytes),
            _ => None,
        }
    }
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
        value.int()
    }
}

impl FromValue for u64 {
    fn from_value(value: ValueRef<'_>) -> Option<u64> {
        value.int()?.try_into().ok()
    }
}

impl FromValue for u32 {
    fn from_value(value: ValueRef<'_>) -> Option<u32> {
        value.int()?.try_into().ok()
    }
}

impl FromValue for bool {
    fn from_value(value: ValueRef<'_>) -> Option<bool> {
        value.int().map(|number| number != 0)
    }
}

impl FromValue for String {
    fn from_value(value: ValueRef<'_>) -> Option<String> {
        value.text().map(str::to_owned)
    }
}

impl<const N: usize> FromValue for [u8; N] {
    fn from_value(value: ValueRef<'_>) -> Option<[u8; N]> {
        value.blob()?.try_into().ok()
    }
}

impl FromValue for Vec<u8> {
    fn from_value(value: ValueRef<'_>) -> Option<Vec<u8>> {
        value.blob().map(<[u8]>::to_vec)
    }
}

impl FromValue for Timestamp {
    fn from_value(value: ValueRef<'_>) -> Option<Timestamp> {
        value.int().map(Timestamp)
    }
}

impl FromValue for Uid {
    fn from_value(value: ValueRef<'_>) -> Option<Uid> {
        Uid::parse(value.text()?)
    }
}

impl FromValue for KeyId {
    fn from_value(value: ValueRef<'_>) -> Option<KeyId> {
        KeyId::parse(value.text()?)
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

impl Value {
    /// A copy; `None` for what no column of ours has.
    pub fn of(value: ValueRef<'_>) -> Option<Value> {
        Some(match value {
            ValueRef::Blob(bytes) => Value::Blob(bytes.to_vec()),
            ValueRef::Int(number) => Value::Int(number),
            ValueRef::Null => Value::Null,
            ValueRef::Real(_) => return None,
            ValueRef::Text(bytes) => Value::Text(std::str::from_utf8(bytes).ok()?.to_owned()),
        })
    }

    pub fn borrowed(&self) -> ValueRef<'_> {
        match self {
            Value::Blob(bytes) => ValueRef::Blob(bytes),
            Value::Int(number) => ValueRef::Int(*number),
            Value::Null => ValueRef::Null,
            Value::Text(text) => ValueRef::Text(text.as_bytes()),
        }
    }

    /// Appends what [`super::Row::encode`] appends for a column with this value.
    pub fn encode(&self, out: &mut Vec<u8>) {
        encode(self.borrowed(), out);
    }
}

/// Appends a value in an unambiguous encoding; see [`super::Row::encode`].
pub fn encode(value: ValueRef<'_>, out: &mut Vec<u8>) {
    let mut long = |letter: u8, bytes: &[u8]| {
        out.push(letter);
        out.extend((bytes.len() as u64).to_be_bytes());
        out.extend(bytes);
    };
    match value {
        ValueRef::Blob(bytes) => long(b'b', bytes),
        ValueRef::Text(bytes) => long(b't', bytes),
        ValueRef::Int(number) => {
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

/// A value in an unambiguous encoding; see [`super::Row::bytes`].
pub fn bytes(value: ValueRef<'_>) -> Vec<u8> {
    let with = |letter: u8, bytes: &[u8]| [&[letter], bytes].concat();
    match value {
        ValueRef::Blob(bytes) => with(b'b', bytes),
        ValueRef::Int(number) => with(b'i', &number.to_be_bytes()),
        ValueRef::Null => with(b'n', &[]),
        ValueRef::Real(number) => with(b'r', &number.to_be_bytes()),
        ValueRef::Text(bytes) => with(b't', bytes),
    }
}
