//! Reads CSV (RFC 4180) with a line of column names: each row becomes an object.
//!
//! A cell that is empty, `NULL` or `\N`, without quotation marks, is null: so databases write it.

use super::{Data, Fault, Node, fault};
use crate::domain::keys::plain::Plain;
use crate::refusals;

/// The greatest number of columns.
const COLUMNS_MAX: usize = 200;

/// Reads all rows. The line of a row, and of its cells, is the one at which the row begins.
pub fn rows(text: &str) -> Result<Vec<Node>, Fault> {
    let mut reader = Reader {
        rest: text,
        line: 1,
    };
    let Some((line, header)) = reader.record()? else {
        return Err(fault(1, refusals::imports::empty()));
    };
    let columns = columns(line, header)?;
    let mut rows = Vec::new();
    while let Some((line, cells)) = reader.record()? {
        if cells.len() != columns.len() {
            let why = refusals::imports::csv_cells(cells.len(), columns.len());
            return Err(fault(line, why));
        }
        let member = |(name, data): (&String, Data)| (name.clone(), Node { line, data });
        let members = columns.iter().zip(cells).map(member).collect();
        rows.push(Node {
            line,
            data: Data::Object(members),
        });
    }
    Ok(rows)
}

fn columns(line: usize, header: Vec<Data>) -> Result<Vec<String>, Fault> {
    let refused = |why| Err(fault(line, why));
    if header.len() > COLUMNS_MAX {
        return refused(refusals::imports::csv_columns(COLUMNS_MAX));
    }
    let mut columns: Vec<String> = Vec::new();
    for cell in header {
        let Data::Text(name) = cell else {
            return refused(refusals::imports::csv_column_without_name());
        };
        let name = name.as_str().trim().to_owned();
        if name.is_empty() || name.contains(char::is_control) {
            return refused(refusals::imports::csv_column_without_name());
        }
        if columns.contains(&name) {
            let shown: String = name.chars().take(100).collect();
            return refused(refusals::imports::csv_column_twice(shown));
        }
        columns.push(name);
    }
    Ok(columns)
}

struct Reader<'t> {
    rest: &'t str,
    line: usize,
}

impl Reader<'_> {
    /// The next record and the line at which it begins; blank lines are skipped.
    fn record(&mut self) -> Result<Option<(usize, Vec<Data>)>, Fault> {
        while let Some(rest) = self
            .rest
            .strip_prefix('\n')
            .or(self.rest.strip_prefix("\r\n"))
        {
            self.rest = rest;
            self.line += 1;
        }
        if self.rest.is_empty() {
            return Ok(None);
        }
        let line = self.line;
        let mut cells = Vec::new();
        loop {
            cells.push(self.cell()?);
            if let Some(rest) = self.rest.strip_prefix(',') {
                self.rest = rest;
            } else {
                break;
            }
        }
        let end = self
            .rest
            .strip_prefix('\n')
            .or(self.rest.strip_prefix("\r\n"));
        match end {
            Some(rest) => {
                self.rest = rest;
                self.line += 1;
            }
            None if self.rest.is_empty() => {}
            None if self.rest.starts_with('\r') => {
                return Err(fault(self.line, refusals::imports::csv_line_end()));
            }
            None => return Err(fault(self.line, refusals::imports::csv_after_quote())),
        }
        Ok(Some((line, cells)))
    }

    fn cell(&mut self) -> Result<Data, Fault> {
        if self.rest.starts_with('"') {
            return self.quoted_cell();
        }
        let end = self.rest.find([',', '\n', '\r']).unwrap_or(self.rest.len());
        let (cell, rest) = self.rest.split_at(end);
        if cell.contains('"') {
            return Err(fault(self.line, refusals::imports::csv_quote_inside()));
        }
        self.rest = rest;
        Ok(match cell {
            "" | "NULL" | "\\N" => Data::Null,
            cell => Data::Text(Plain::new(cell)),
        })
    }

    /// A cell in quotation marks, in which a doubled one stands for one.
    fn quoted_cell(&mut self) -> Result<Data, Fault> {
        let start = self.line;
        let body = &self.rest[1..];
        let mut from = 0;
        let end = loop {
            let Some(at) = body[from..].find('"').map(|at| from + at) else {
                return Err(fault(start, refusals::imports::csv_open()));
            };
            if !body[at + 1..].starts_with('"') {
                break at;
            }
            from = at + 2;
        };
        let cell = &body[..end];
        self.line += cell.bytes().filter(|byte| *byte == b'\n').count();
        self.rest = &body[end + 1..];
        Ok(Data::Text(match cell.contains('"') {
            true => Plain::new(cell.replace("\"\"", "\"")),
            false => Plain::new(cell),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_objects_with_their_lines() {
        let text = "id,\"full name\",meta\r\n1,\"a, \"\"b\"\"\r\nc\",{}\n\n2,NULL,\"\"\n3,,\\N";
        let rows = rows(text).ok().unwrap();
        let shown: Vec<(usize, String)> =
            rows.iter().map(|row| (row.line, row.to_json())).collect();
        assert_eq!(
            shown,
            [
                (
                    2,
                    r#"{"id":"1","full name":"a, \"b\"\r\nc","meta":"{}"}"#.to_owned()
                ),
                (5, r#"{"id":"2","full name":null,"meta":""}"#.to_owned()),
                (6, r#"{"id":"3","full name":null,"meta":null}"#.to_owned()),
            ]
        );
    }

    #[test]
    fn what_is_no_csv_is_refused_with_its_line() {
        for (text, line, why) in [
            ("", 1, "is empty"),
            ("\n\n", 1, "is empty"),
            ("a,,b\n", 1, "no name"),
            ("a,\"\"\n", 1, "no name"),
            ("a,b,a\n", 1, "there twice"),
            ("a,b\n1\n", 2, "1 cell,"),
            ("a,b\n1,2\n\n1,2,3\n", 4, "3 cells"),
            ("a,b\n1,\"2\n3\n", 2, "never closed"),
            ("a,b\n1,\"2\"3\n", 2, "after a closing quotation mark"),
            ("a,b\n1,2\"3\"\n", 2, "quotation mark inside"),
            ("a,b\r1,2\r", 1, "carriage return"),
        ] {
            let Err(fault) = rows(text) else {
                panic!("{text:?} is read");
            };
            let sentence = fault.why.to_string();
            assert_eq!(fault.line, line, "{text:?}: {sentence}");
            assert!(sentence.contains(why), "{text:?}: {sentence}");
        }
        let wide = "a,".repeat(COLUMNS_MAX) + "b\n";
        assert!(rows(&wide).is_err());
    }
}
