//! What later schemas have added to an older one, and a database of the older one lacks.

/// Tables, columns and indexes, each in the order in which it was added.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Additions {
    pub tables: Vec<String>,
    /// Each after its table.
    pub columns: Vec<(String, String)>,
    pub indexes: Vec<String>,
}

impl Additions {
    pub fn has_table(&self, table: &str) -> bool {
        self.tables.iter().any(|added| added == table)
    }

    pub fn has_column(&self, table: &str, column: &str) -> bool {
        let added = |(of, name): &(String, String)| of == table && name == column;
        self.columns.iter().any(added)
    }

    /// The statements that take everything away from a schema that has it, with either engine.
    pub fn undo(&self) -> String {
        let mut text = String::new();
        for index in self.indexes.iter().rev() {
            text.push_str(&format!("DROP INDEX {index};\n"));
        }
        for (table, column) in self.columns.iter().rev() {
            text.push_str(&format!("ALTER TABLE {table} DROP COLUMN {column};\n"));
        }
        for table in self.tables.iter().rev() {
            text.push_str(&format!("DROP TABLE {table};\n"));
        }
        text
    }
}
