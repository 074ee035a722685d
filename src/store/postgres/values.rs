//! Values as PostgreSQL takes and returns them: bigint, text and bytea. Results may also be boolean or integer, as
//! comparisons and small literals are.

use crate::error::{Error, Result};
use crate::store::connection::{Value, ValueRef};
use bytes::BytesMut;
use std::fmt;
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, to_sql_checked};

/// What a conversion fails with.
type Cause = Box<dyn std::error::Error + Sync + Send>;

/// A parameter of a statement.
pub struct Param(pub Value);

/// The columns of a row.
pub struct Cells<'a> {
    pub row: &'a tokio_postgres::Row,
}

impl Cells<'_> {
    pub fn count(&self) -> usize {
        self.row.len()
    }

    pub fn is_called(&self, position: usize, name: &str) -> bool {
        let column = self.row.columns().get(position);
        column.is_some_and(|column| column.name() == name)
    }

    pub fn value(&self, position: usize) -> Result<ValueRef<'_>> {
        let value = self.row.try_get::<usize, Plain<'_>>(position);
        value.map(|plain| plain.0).map_err(Error::internal)
    }
}

/// The crate writes parameters into its log if that is set to show everything. Digests do not belong there.
impl fmt::Debug for Param {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }
}

impl ToSql for Param {
    fn to_sql(&self, ty: &Type, out: &mut BytesMut) -> std::result::Result<IsNull, Cause> {
        match &self.0 {
            Value::Null => Ok(IsNull::Yes),
            Value::Int(number) if *ty == Type::INT8 => number.to_sql(ty, out),
            // PostgreSQL has no texts with this character, and no name or document may have it.
            Value::Text(text) if *ty == Type::TEXT && text.contains('\0') => {
                Err("a text has the character U+0000".into())
            }
            Value::Text(text) if *ty == Type::TEXT => text.to_sql(ty, out),
            Value::Blob(bytes) if *ty == Type::BYTEA => bytes.to_sql(ty, out),
            Value::Int(_) | Value::Text(_) | Value::Blob(_) => {
                Err(format!("a parameter of type {ty} has a value of another type").into())
            }
        }
    }

    fn accepts(ty: &Type) -> bool {
        [Type::INT8, Type::TEXT, Type::BYTEA].contains(ty)
    }

    to_sql_checked!();
}

/// A value of a result.
struct Plain<'a>(ValueRef<'a>);

impl<'a> FromSql<'a> for Plain<'a> {
    fn from_sql(ty: &Type, raw: &'a [u8]) -> std::result::Result<Plain<'a>, Cause> {
        Ok(Plain(match *ty {
            Type::BOOL => ValueRef::Int(bool::from_sql(ty, raw)?.into()),
            Type::BYTEA => ValueRef::Blob(raw),
            Type::INT4 => ValueRef::Int(i32::from_sql(ty, raw)?.into()),
            Type::INT8 => ValueRef::Int(i64::from_sql(ty, raw)?),
            _ => ValueRef::Text(raw),
        }))
    }

    fn from_sql_null(_: &Type) -> std::result::Result<Plain<'a>, Cause> {
        Ok(Plain(ValueRef::Null))
    }

    fn accepts(ty: &Type) -> bool {
        [Type::BOOL, Type::BYTEA, Type::INT4, Type::INT8, Type::TEXT].contains(ty)
    }
}
