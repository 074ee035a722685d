//! Bodies as tables. From one table follow the struct, its reader or writer, its JSON Schema and its example.
//!
//! A line of a table is a member: its description as a doc comment, its name, its type, further keywords of JSON Schema
//! in brackets, and an example behind `=`.

use super::schema::{
    Components, Flat, FreeObject, Member, Presence, Schema, Word, example, object,
};
use crate::domain::policies::{Words, from_word, words};
use crate::domain::time::Timestamp;
use crate::error::Result;
use crate::http::fields::Fields;
use crate::http::request::Request;
use crate::refusals::values;
use serde::Serialize;
use serde_json::{Value, json};

/// A body, or a part of one, that clients send.
pub trait Requested: Schema + Sized {
    /// Reads the members in the order of the table.
    fn read(fields: &mut Fields) -> Result<Self>;

    /// Reads a whole body, and refuses members that are not in the table.
    fn of(request: &Request) -> Result<Self> {
        Self::whole(Fields::of(request)?)
    }

    /// Like [`Requested::of`], but an empty body counts as an empty object.
    fn of_optional(request: &Request) -> Result<Self> {
        Self::whole(Fields::of_optional(request)?)
    }

    /// Reads an object, and refuses members that are not in the table.
    fn whole(mut fields: Fields) -> Result<Self> {
        let body = Self::read(&mut fields)?;
        fields.finish()?;
        Ok(body)
    }
}

/// A type of a member of a request, as it stands in a table.
///
/// - `T`: the member is needed.
/// - `Option<T>`: absent and null are alike.
/// - `Option<Option<T>>`: absent and null are told apart.
/// - [`NotNull`]: the member may be absent, and must not be null.
pub trait Field: Schema + Sized {
    const PRESENCE: Presence;

    fn take(fields: &mut Fields, name: &str) -> Result<Self>;

    /// What the reader demands of every value, as keywords of JSON Schema.
    fn limits() -> Vec<(&'static str, Value)> {
        Vec::new()
    }
}

/// A type that a member can be read as: `None` if the member is absent, `Some(None)` if it is null.
pub trait Readable: Schema + Sized {
    fn take(fields: &mut Fields, name: &str) -> Result<Option<Option<Self>>>;

    fn limits() -> Vec<(&'static str, Value)> {
        Vec::new()
    }
}

/// A type of the entries of a list.
pub trait Entry: Schema + Sized {
    fn take_list(fields: &mut Fields, name: &str) -> Result<Option<Option<Vec<Self>>>>;
}

/// A member that may be absent, but has no default that null could mean.
pub struct NotNull<T>(pub Option<T>);

impl<T: Readable> Field for T {
    const PRESENCE: Presence = Presence::Required;

    fn take(fields: &mut Fields, name: &str) -> Result<T> {
        let taken = <T as Readable>::take(fields, name)?.flatten();
        taken.ok_or_else(|| fields.refusal(name, values::needed()))
    }

    fn limits() -> Vec<(&'static str, Value)> {
        <T as Readable>::limits()
    }
}

impl<T: Readable> Field for Option<T> {
    const PRESENCE: Presence = Presence::Optional;

    fn take(fields: &mut Fields, name: &str) -> Result<Option<T>> {
        Ok(<T as Readable>::take(fields, name)?.flatten())
    }

    fn limits() -> Vec<(&'static str, Value)> {
        <T as Readable>::limits()
    }
}

impl<T: Readable> Field for Option<Option<T>> {
    const PRESENCE: Presence = Presence::Optional;

    fn take(fields: &mut Fields, name: &str) -> Result<Option<Option<T>>> {
        <T as Readable>::take(fields, name)
    }

    fn limits() -> Vec<(&'static str, Value)> {
        <T as Readable>::limits()
    }
}

impl<T: Readable> Field for NotNull<T> {
    const PRESENCE: Presence = Presence::Optional;

    fn take(fields: &mut Fields, name: &str) -> Result<NotNull<T>> {
        match <T as Readable>::take(fields, name)? {
            Some(None) => Err(fields.refusal(name, values::null())),
            taken => Ok(NotNull(taken.flatten())),
        }
    }
}

impl<T: Schema> Schema for NotNull<T> {
    fn schema(components: &mut Components) -> Value {
        T::schema(components)
    }

    fn example() -> Value {
        T::example()
    }
}

impl<T: Requested> Field for Flat<T> {
    const PRESENCE: Presence = Presence::Flat;

    fn take(fields: &mut Fields, _: &str) -> Result<Flat<T>> {
        T::read(fields).map(Flat)
    }
}

/// Types that one function of [`Fields`] reads.
macro_rules! readable {
    ($($kind:ty: $read:expr, $limits:expr;)*) => {
        $(impl Readable for $kind {
            fn take(fields: &mut Fields, name: &str) -> Result<Option<Option<$kind>>> {
                $read(fields, name)
            }

            fn limits() -> Vec<(&'static str, Value)> {
                $limits
            }
        })*
    };
}

readable! {
    String: Fields::text_or_null, Vec::new();
    bool: Fields::flag_or_null, Vec::new();
    u64: Fields::number_or_null, vec![("maximum", json!(1_u64 << 53))];
    u32: small, Vec::new();
    Timestamp: Fields::time_or_null, Vec::new();
    FreeObject: free_object, Vec::new();
}

/// A number that must fit in 32 bits; a larger number exceeds the maximum that the domain sets, and is refused for
/// that.
fn small(fields: &mut Fields, name: &str) -> Result<Option<Option<u32>>> {
    let number = fields.number_or_null(name)?;
    Ok(number.map(|number| number.map(|number| u32::try_from(number).unwrap_or(u32::MAX))))
}

fn free_object(fields: &mut Fields, name: &str) -> Result<Option<Option<FreeObject>>> {
    let text = fields.free_object_or_null(name)?;
    Ok(text.map(|text| text.map(FreeObject)))
}

impl<T: Words> Readable for Word<T> {
    fn take(fields: &mut Fields, name: &str) -> Result<Option<Option<Word<T>>>> {
        let refused =
            |fields: &Fields| fields.refusal(name, values::one_of(words::<T>().join(", ")));
        Ok(match fields.text_or_null(name)? {
            Some(Some(text)) => {
                let value = from_word(&text).ok_or_else(|| refused(fields))?;
                Some(Some(Word(value)))
            }
            other => other.map(|_| None),
        })
    }
}

impl<T: Entry> Readable for Vec<T> {
    fn take(fields: &mut Fields, name: &str) -> Result<Option<Option<Vec<T>>>> {
        T::take_list(fields, name)
    }
}

impl Entry for u32 {
    fn take_list(fields: &mut Fields, name: &str) -> Result<Option<Option<Vec<u32>>>> {
        fields.numbers_or_null(name)
    }
}

impl Entry for String {
    fn take_list(fields: &mut Fields, name: &str) -> Result<Option<Option<Vec<String>>>> {
        fields.texts_or_null(name)
    }
}

/// A page of a list.
#[derive(Serialize)]
pub struct PageBody<T> {
    pub items: Vec<T>,
    pub next_cursor: Option<String>,
}

/// A list that is always whole.
#[derive(Serialize)]
pub struct ListBody<T> {
    items: Vec<T>,
    next_cursor: (),
}

impl<T> ListBody<T> {
    pub fn of(items: Vec<T>) -> ListBody<T> {
        ListBody {
            items,
            next_cursor: (),
        }
    }
}

impl<T: Schema> Schema for PageBody<T> {
    fn schema(components: &mut Components) -> Value {
        object(components, &[], Self::members())
    }

    fn example() -> Value {
        example(Self::members())
    }

    fn members() -> Vec<Member> {
        pages::<T, Option<String>>()
    }
}

impl<T: Schema> Schema for ListBody<T> {
    fn schema(components: &mut Components) -> Value {
        object(components, &[], Self::members())
    }

    fn example() -> Value {
        example(Self::members())
    }

    fn members() -> Vec<Member> {
        pages::<T, ()>()
    }
}

fn pages<T: Schema, Cursor: Schema>() -> Vec<Member> {
    let items = Some(json!([T::example()]));
    vec![
        member::<Vec<T>>("items", Vec::new(), Presence::Required, Vec::new(), items),
        member::<Cursor>(
            "next_cursor",
            Vec::new(),
            Presence::Required,
            Vec::new(),
            None,
        ),
    ]
}

/// A line of a table.
pub fn member<T: Schema>(
    name: &'static str,
    about: Vec<&'static str>,
    presence: Presence,
    bounds: Vec<(&'static str, Value)>,
    example: Option<Value>,
) -> Member {
    Member {
        name: name.trim_start_matches("r#"),
        about,
        schema: T::schema,
        bounds,
        presence,
        example,
        type_example: T::example,
        members: T::members,
    }
}

/// Whether an answer always has a member, from the attribute of serde in its line.
pub fn presence(serde: &str) -> Presence {
    match serde {
        "" => Presence::Required,
        "flatten" => Presence::Flat,
        _ => Presence::Maybe,
    }
}

/// The body of an answer, written by serde. A member with an attribute `skip_serializing_if` may be absent. A table
/// `like` another takes descriptions and bounds from it.
macro_rules! answer {
    (
        $(#[doc = $about:literal])*
        $see:vis struct $name:ident $(<$life:lifetime>)? as $known:literal $(like $other:ty)? {
            $(
                $(#[doc = $doc:literal])*
                $(#[serde($($serde:tt)*)])?
                $member:ident: $kind:ty $([$($keyword:ident = $bound:expr),*])? $(= $example:expr)?,
            )*
        }
    ) => {
        $(#[doc = $about])*
        #[derive(serde::Serialize)]
        $see struct $name $(<$life>)? {
            $($(#[doc = $doc])* $(#[serde($($serde)*)])? pub $member: $kind,)*
        }

        $crate::http::describe::bodies::described! {
            $name $(<$life>)?, $known, [$($about),*], [$($other)?],
            $((
                $kind, stringify!($member), [$($doc),*],
                $crate::http::describe::bodies::presence(concat!($(stringify!($($serde)*))?)),
                vec![$($((stringify!($keyword), serde_json::json!($bound))),*)?],
                [$($example)?]
            ))*
        }
    };
}

/// The body of a request, or a part of one. The reader takes each member in the order of the table ([`Field`]). With
/// `#[derive(Serialize)]` it is the body of answers too.
macro_rules! request {
    (
        $(#[doc = $about:literal])*
        $(#[derive($($derive:path),*)])?
        $see:vis struct $name:ident as $known:literal {
            $(
                $(#[doc = $doc:literal])*
                $member:ident: $kind:ty $([$($keyword:ident = $bound:expr),*])? $(= $example:expr)?,
            )*
        }
    ) => {
        $(#[doc = $about])*
        $(#[derive($($derive),*)])?
        $see struct $name {
            $($(#[doc = $doc])* pub $member: $kind,)*
        }

        impl $crate::http::describe::bodies::Requested for $name {
            fn read(_fields: &mut $crate::http::fields::Fields) -> $crate::error::Result<$name> {
                Ok($name {
                    $($member: $crate::http::describe::bodies::Field::take(
                        _fields,
                        stringify!($member),
                    )?,)*
                })
            }
        }

        impl $crate::http::describe::bodies::Readable for $name {
            fn take(
                fields: &mut $crate::http::fields::Fields,
                name: &str,
            ) -> $crate::error::Result<Option<Option<$name>>> {
                use $crate::http::describe::bodies::Requested;
                let taken = fields.object_or_null(name)?;
                taken.map(|inner| inner.map($name::whole).transpose()).transpose()
            }
        }

        impl $crate::http::describe::bodies::Entry for $name {
            fn take_list(
                fields: &mut $crate::http::fields::Fields,
                name: &str,
            ) -> $crate::error::Result<Option<Option<Vec<$name>>>> {
                use $crate::http::describe::bodies::Requested;
                let items = fields.objects(name)?;
                let items = items.map(|items| items.into_iter().map($name::whole).collect());
                Ok(items.transpose()?.map(Some))
            }
        }

        $crate::http::describe::bodies::described! {
            $name, $known, [$($about),*], [],
            $((
                $kind, stringify!($member), [$($doc),*],
                <$kind as $crate::http::describe::bodies::Field>::PRESENCE,
                {
                    let mut bounds = <$kind as $crate::http::describe::bodies::Field>::limits();
                    let more: Vec<(&'static str, serde_json::Value)> =
                        vec![$($((stringify!($keyword), serde_json::json!($bound))),*)?];
                    bounds.extend(more);
                    bounds
                },
                [$($example)?]
            ))*
        }
    };
}

/// The schema and the example of a table. A body with the name `""` has no component of its own.
macro_rules! described {
    (
        $name:ident $(<$life:lifetime>)?, $known:literal, [$($about:literal),*], [$($other:ty)?],
        $(($kind:ty, $member:expr, [$($doc:literal),*], $presence:expr, $bounds:expr, [$($example:expr)?]))*
    ) => {
        impl $(<$life>)? $crate::http::describe::schema::Schema for $name $(<$life>)? {
            fn schema(
                components: &mut $crate::http::describe::schema::Components,
            ) -> serde_json::Value {
                let build = |components: &mut $crate::http::describe::schema::Components| {
                    $crate::http::describe::schema::object(components, &[$($about),*], Self::members())
                };
                match $known {
                    "" => build(components),
                    known => components.named(known, build),
                }
            }

            fn example() -> serde_json::Value {
                $crate::http::describe::schema::example(Self::members())
            }

            fn members() -> Vec<$crate::http::describe::schema::Member> {
                let members = vec![
                    $($crate::http::describe::bodies::member::<$kind>(
                        $member,
                        vec![$($doc),*],
                        $presence,
                        $bounds,
                        [$(serde_json::json!($example))?].into_iter().next(),
                    ),)*
                ];
                $(let members = $crate::http::describe::schema::like(
                    members,
                    <$other as $crate::http::describe::schema::Schema>::members(),
                );)?
                members
            }
        }
    };
}

pub(crate) use {answer, described, request};

request! {
    pub struct EmptyBody as "Empty" {}
}

/// Reads the body of a request that has no members.
pub fn no_members(request: &Request) -> Result<()> {
    EmptyBody::of_optional(request).map(drop)
}
