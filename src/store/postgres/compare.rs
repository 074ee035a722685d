//! How the schema in a database differs from that of this build.
//!
//! The schema of this build is made as temporary tables, in a transaction that is rolled back, and the server describes both
//! in the same words.

use super::schema::statements;
use super::{Postgres, SCHEMA_NAME};
use crate::error::Result;
use crate::store::connection::{Difference, Foreign, quoted};
use crate::store::sqlite::SCHEMA_VERSION;
use std::collections::BTreeMap;

/// Tables with their columns, and all that belongs to them, of the schema `$1`.
///
/// A constraint is known by its definition, because its name is the server's choice. An index that a constraint has made is not listed.
const DESCRIBE: &str = "
    SELECT CASE c.relkind WHEN 'r' THEN 'table' WHEN 'p' THEN 'table' WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized view'
                          WHEN 'S' THEN 'sequence' WHEN 'f' THEN 'foreign table' ELSE 'type' END AS kind,
           CAST(c.relname AS text) AS owner, CAST(c.relname AS text) AS name,
           coalesce((SELECT string_agg(concat_ws(' ', a.attname, format_type(a.atttypid, a.atttypmod), l.collname,
                                                 CASE WHEN a.attnotnull THEN 'not null' END, a.attidentity, a.attgenerated,
                                                 pg_get_expr(d.adbin, d.adrelid)), ', ' ORDER BY a.attnum)
                     FROM pg_attribute a
                     LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
                     LEFT JOIN pg_collation l ON l.oid = a.attcollation
                     WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped), '') AS definition
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE CAST(n.nspname AS text) = $1 AND c.relkind NOT IN ('i', 'I', 't')
    UNION ALL
    SELECT 'constraint', CAST(c.relname AS text), CAST(k.conname AS text), pg_get_constraintdef(k.oid)
    FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE CAST(n.nspname AS text) = $1 AND k.contype IN ('c', 'f', 'p', 'u', 'x')
    UNION ALL
    SELECT CASE WHEN x.indisunique OR x.indexprs IS NOT NULL OR x.indpred IS NOT NULL THEN 'strict index' ELSE 'index' END,
           CAST(c.relname AS text), CAST(i.relname AS text),
           replace(replace(pg_get_indexdef(x.indexrelid), concat(quote_ident(n.nspname), '.'), ''), 'pg_temp.', '')
    FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid JOIN pg_class c ON c.oid = x.indrelid
         JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE CAST(n.nspname AS text) = $1 AND c.relkind = 'r'
          AND NOT EXISTS (SELECT 1 FROM pg_constraint k WHERE k.conindid = x.indexrelid AND k.conrelid = x.indrelid)
    UNION ALL
    SELECT 'trigger', CAST(c.relname AS text), CAST(t.tgname AS text), ''
    FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE CAST(n.nspname AS text) = $1 AND NOT t.tgisinternal
    UNION ALL
    SELECT 'rule', CAST(c.relname AS text), CAST(r.rulename AS text), ''
    FROM pg_rewrite r JOIN pg_class c ON c.oid = r.ev_class JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE CAST(n.nspname AS text) = $1 AND r.rulename <> '_RETURN'
    UNION ALL
    SELECT 'policy', CAST(c.relname AS text), CAST(p.polname AS text), ''
    FROM pg_policy p JOIN pg_class c ON c.oid = p.polrelid JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE CAST(n.nspname AS text) = $1";

/// What the server would not do with the tables of the schema `$1` as with tables that it has just made.
const FAULTS: &str = "
    SELECT concat('row security of table ', c.relname, ' is on') AS fault
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE CAST(n.nspname AS text) = $1 AND c.relkind = 'r' AND (c.relrowsecurity OR c.relforcerowsecurity)
    UNION ALL
    SELECT concat('table ', c.relname, ' is UNLOGGED, so a crash of the server empties it')
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE CAST(n.nspname AS text) = $1 AND c.relkind = 'r' AND c.relpersistence = 'u' 
          AND c.relname NOT IN ('exact_windows', 'shared_attempts')
    UNION ALL
    SELECT concat('table ', p.relname, ' has parts in ', CAST(h.inhrelid AS regclass))
    FROM pg_inherits h JOIN pg_class p ON p.oid = h.inhparent JOIN pg_namespace n ON n.oid = p.relnamespace
    WHERE CAST(n.nspname AS text) = $1 AND p.relkind IN ('r', 'p')
    UNION ALL
    SELECT concat('table ', CAST(k.conrelid AS regclass), ' refers to table ', c.relname)
    FROM pg_constraint k JOIN pg_class c ON c.oid = k.confrelid JOIN pg_namespace n ON n.oid = c.relnamespace
         JOIN pg_class o ON o.oid = k.conrelid
    WHERE CAST(n.nspname AS text) = $1 AND k.contype = 'f' AND o.relnamespace <> n.oid";

/// What the server has made and not finished in the schema `$1`.
const UNFINISHED: &str = "
    SELECT concat('index ', i.relname, ' is not valid; build it again: REINDEX INDEX ', n.nspname, '.', i.relname) AS fault
    FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid JOIN pg_namespace n ON n.oid = i.relnamespace
    WHERE CAST(n.nspname AS text) = $1 AND NOT (x.indisvalid AND x.indisready AND x.indislive)
    UNION ALL
    SELECT concat('constraint ', k.conname, ' of table ', c.relname, ' is not validated')
    FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE CAST(n.nspname AS text) = $1 AND NOT k.convalidated";

/// An object by its kind, its table, and its name or, for a constraint, its definition.
type Key = (String, String, String);

/// An object as the server describes it.
struct Object {
    name: String,
    definition: String,
}

impl Postgres {
    /// Compares this database with the schema that this build would have made of its version, over a connection of its own. Of a
    /// newer schema only the part is known that this build has.
    pub fn difference(&self) -> Result<Difference> {
        let other = Postgres::open(&self.address)?;
        let (wanted, version) = other.begin_comparing(None)?;
        let found = other.objects(SCHEMA_NAME)?;
        let faults = other.sentences(FAULTS)?;
        other.batch("ROLLBACK")?;
        Ok(compared(&wanted, &found, faults, version))
    }

    /// As [`Postgres::difference`], of what the transaction of this connection sees.
    pub fn difference_here(&self) -> Result<Difference> {
        let version = self.version()?;
        let other = Postgres::open(&self.address)?;
        let (wanted, _) = other.begin_comparing(Some(version))?;
        other.batch("ROLLBACK")?;
        let found = self.objects(SCHEMA_NAME)?;
        let faults = self.sentences(FAULTS)?;
        Ok(compared(&wanted, &found, faults, version))
    }

    /// Begins a transaction of comparing, and describes what there should be in a database of a schema, or of that of the database.
    fn begin_comparing(&self, version: Option<i64>) -> Result<(BTreeMap<Key, Object>, i64)> {
        self.batch("BEGIN ISOLATION LEVEL REPEATABLE READ")?;
        let version = match version {
            Some(version) => version,
            None => super::schema::versions(self)?.version,
        };
        // A name without a schema is that of a temporary table from here on.
        self.batch("SET LOCAL search_path = pg_temp")?;
        // A temporary table is never logged, and no other word for that is allowed.
        self.batch(&statements().replace("CREATE UNLOGGED TABLE", "CREATE TABLE"))?;
        self.batch(&self.address.schemas.lacking(version)?.undo())?;
        let temporary = self.text("SELECT CAST(nspname AS text) AS text FROM pg_namespace WHERE oid = pg_my_temp_schema()")?;
        let wanted = self.objects(&temporary)?;
        self.batch("SET LOCAL search_path = latchkey, pg_temp")?;
        Ok((wanted, version))
    }

    /// What the server has not finished; empty if there is nothing.
    pub fn faults(&self) -> Result<Vec<String>> {
        self.sentences(UNFINISHED)
    }

    fn sentences(&self, sql: &'static str) -> Result<Vec<String>> {
        let mut found = Vec::new();
        self.each(sql, &[&SCHEMA_NAME], &mut |row| {
            found.push(row.get("fault")?);
            Ok(())
        })?;
        Ok(found)
    }

    fn objects(&self, schema: &str) -> Result<BTreeMap<Key, Object>> {
        let mut found = BTreeMap::new();
        self.each(DESCRIBE, &[&schema], &mut |row| {
            let (kind, owner): (String, String) = (row.get("kind")?, row.get("owner")?);
            let object = Object {
                name: row.get("name")?,
                definition: row.get("definition")?,
            };
            let named = match kind.as_str() {
                "constraint" => object.definition.clone(),
                _ => object.name.clone(),
            };
            found.insert((kind, owner, named), object);
            Ok(())
        })?;
        Ok(found)
    }
}

/// Everything that differs. What a newer schema may have added is not known here.
fn compared(
    wanted: &BTreeMap<Key, Object>,
    found: &BTreeMap<Key, Object>,
    faults: Vec<String>,
    version: i64,
) -> Difference {
    let is_newer = version > SCHEMA_VERSION;
    let mut difference = compare(wanted, found, is_newer);
    difference.faults.extend(faults);
    difference
}

fn compare(
    wanted: &BTreeMap<Key, Object>,
    found: &BTreeMap<Key, Object>,
    is_newer: bool,
) -> Difference {
    let mut difference = Difference::default();
    let is_ours = |table: &str| {
        wanted
            .keys()
            .any(|(kind, owner, _)| kind == "table" && owner == table)
    };
    for (key, object) in found {
        let (kind, owner, _) = key;
        let kind = word(kind);
        match wanted.get(key) {
            // Newer columns come last.
            Some(known)
                if is_newer
                    && kind == "table"
                    && object
                        .definition
                        .starts_with(&format!("{}, ", known.definition)) => {}
            Some(known) if known.definition != object.definition => {
                let fault = format!("{kind} {} is not what it should be", object.name);
                difference.faults.push(fault);
            }
            Some(_) => {}
            // What belongs to a foreign table goes with it.
            None if owner != &object.name && !is_ours(owner) => {}
            None if is_newer && !["policy", "rule", "trigger"].contains(&kind) => {}
            None => difference.foreign.push(foreign(key, object)),
        }
    }
    let missing = wanted.iter().filter(|(key, _)| !found.contains_key(*key));
    let missing = missing.map(|((kind, owner, _), object)| match kind.as_str() {
        "constraint" => format!("constraint {} of table {owner} is missing", object.name),
        kind => format!("{} {} is missing", word(kind), object.name),
    });
    difference.faults.extend(missing);
    difference
}

/// A kind as SQL has it.
fn word(kind: &str) -> &str {
    match kind {
        "strict index" => "index",
        other => other,
    }
}

fn foreign((kind, owner, _): &Key, object: &Object) -> Foreign {
    let name = quoted(&object.name);
    let table = format!("{SCHEMA_NAME}.{}", quoted(owner));
    let statement = match kind.as_str() {
        "constraint" => format!("ALTER TABLE {table} DROP CONSTRAINT {name};"),
        "trigger" | "rule" | "policy" => format!("DROP {} {name} ON {table};", kind.to_uppercase()),
        kind => format!("DROP {} {SCHEMA_NAME}.{name};", word(kind).to_uppercase()),
    };
    let is_harmless =
        !["constraint", "trigger", "rule", "policy", "strict index"].contains(&kind.as_str());
    Foreign::removed_by(statement, word(kind), &object.name, is_harmless)
}

#[cfg(test)]
mod tests {
    use crate::store::connection::Foreign;
    use crate::store::postgres::server;

    #[test]
    fn what_is_not_ours_is_named_with_the_statement_that_removes_it() {
        let Some((postgres, _)) = server::open() else {
            return;
        };
        let difference = postgres.difference().unwrap();
        assert!(
            difference.foreign.is_empty() && difference.faults.is_empty(),
            "{difference:?}"
        );
        assert!(postgres.faults().unwrap().is_empty());
        let function = "CREATE FUNCTION public.stop() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'";
        postgres.batch(function).unwrap();
        for (make, name, is_harmless) in [
            (
                "CREATE TABLE more (x BIGINT PRIMARY KEY)",
                "table more",
                true,
            ),
            ("CREATE VIEW seen AS SELECT id FROM keys", "view seen", true),
            (
                "CREATE INDEX extra ON keys (name, created_at)",
                "index extra",
                true,
            ),
            (
                "CREATE UNIQUE INDEX one_name ON keys (name)",
                "index one_name",
                false,
            ),
            (
                "CREATE INDEX partly ON keys (name) WHERE name > 'a'",
                "index partly",
                false,
            ),
            (
                "CREATE TRIGGER t BEFORE INSERT ON keys FOR EACH ROW EXECUTE FUNCTION public.stop()",
                "trigger t",
                false,
            ),
            (
                "CREATE RULE r AS ON DELETE TO secrets DO INSTEAD NOTHING",
                "rule r",
                false,
            ),
            ("CREATE POLICY p ON keys USING (true)", "policy p", false),
            (
                "ALTER TABLE keys ADD CONSTRAINT c CHECK (name <> 'x')",
                "constraint c",
                false,
            ),
        ] {
            postgres.batch(make).unwrap();
            let found = postgres.difference().unwrap();
            let shown: Vec<String> = found.foreign.iter().map(Foreign::shown).collect();
            assert_eq!(shown, [name], "{make}: {found:?}");
            assert_eq!(found.foreign[0].is_harmless, is_harmless, "{make}");
            assert_eq!(found.refused().is_empty(), is_harmless, "{make}");
            postgres.batch(found.foreign[0].statement()).unwrap();
            assert!(postgres.difference().unwrap().foreign.is_empty(), "{make}");
        }
    }

    #[test]
    fn what_is_missing_or_different_is_a_fault() {
        let Some((postgres, _)) = server::open() else {
            return;
        };
        for (change, back, fault) in [
            (
                "ALTER TABLE keys ENABLE ROW LEVEL SECURITY",
                "ALTER TABLE keys DISABLE ROW LEVEL SECURITY",
                "row security of table keys is on",
            ),
            (
                "ALTER TABLE user_preferences SET UNLOGGED",
                "ALTER TABLE user_preferences SET LOGGED",
                "UNLOGGED",
            ),
            (
                "CREATE TABLE public.other (key TEXT REFERENCES keys (id))",
                "DROP TABLE public.other",
                "refers to table keys",
            ),
            (
                "ALTER TABLE numbers ALTER last DROP NOT NULL",
                "ALTER TABLE numbers ALTER last SET NOT NULL",
                "table numbers is not what it should be",
            ),
            (
                "ALTER TABLE numbers DROP CONSTRAINT numbers_series_check",
                "ALTER TABLE numbers ADD CONSTRAINT numbers_series_check CHECK (series IN ('key', 'workspace'))",
                "constraint numbers_series_check of table numbers is missing",
            ),
            (
                "DROP INDEX keys_policy",
                "CREATE INDEX keys_policy ON keys (policy, workspace_uid)",
                "index keys_policy is missing",
            ),
        ] {
            postgres.batch(change).unwrap();
            let found = postgres.difference().unwrap();
            assert!(
                found.refused().iter().any(|it| it.contains(fault)),
                "{change}: {found:?}"
            );
            postgres.batch(back).unwrap();
            let after = postgres.difference().unwrap();
            assert!(after.refused().is_empty(), "{back}: {after:?}");
        }
    }

    #[test]
    fn a_constraint_that_was_not_validated_is_a_fault_of_the_database() {
        let Some((postgres, _)) = server::open() else {
            return;
        };
        let add = "ALTER TABLE numbers ADD CONSTRAINT c CHECK (last > 0) NOT VALID";
        postgres.batch(add).unwrap();
        let faults = postgres.faults().unwrap();
        assert_eq!(faults, ["constraint c of table numbers is not validated"]);
    }
}
