//! The tree of workspaces.

sentences! { "workspaces":
    exists(workspace) = "there is a workspace {workspace} already";
    has_children(workspace) = "workspace {workspace} has others below it; delete those first";
    has_users(count, workspace, first) = "{count} {count:user is|users are} at home in workspace {workspace} ({first}{count:|, …}); delete {count:this user|them} first";
    move_below_itself() = "a workspace cannot be moved below itself";
    nested_too_deep(most) = "workspaces can be nested {most} deep";
    not_empty(workspace) = "workspace {workspace} is not empty: it has workspaces below it, users at home in it, or keys; delete it with recursive=true, or disable it instead";
    root_deleted() = "the root workspace cannot be deleted";
    root_disabled() = "the root workspace cannot be disabled; disable the ones below it";
    root_moved() = "the root workspace cannot be moved";
    too_many(most) = "a server has at most {most} workspaces; delete one first";
    unknown() = "there is no such workspace";
}
