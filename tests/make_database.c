/* SPDX-License-Identifier: GPL-3.0-or-later */
/* make_database: makes a config.db full of guest configurations, for tests of size and speed. */
#include <glib.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/entry.h"
#include "core/limits.h"
#include "store/file.h"

#define MTIME 1700000000
#define FIRST_GUEST 100
#define PROGRESS_WIDTH 50

/* What is asked for. */
struct wish {
    int files;
    int size;
    int nodes;
    gboolean quiet;
};

/* The database under way: as if each entry had been made by two changes, a create and a write. */
struct maker {
    sqlite3 *db;
    sqlite3_stmt *insert;
    int64_t version;
    bool failed;
};

static int64_t add(struct maker *maker, int64_t parent, enum entry_type type, const char *name,
                   const char *data, int size)
{
    int64_t inode = ++maker->version;

    if (type == ENTRY_FILE && size > 0)
        maker->version++;
    sqlite3_bind_int64(maker->insert, 1, inode);
    sqlite3_bind_int64(maker->insert, 2, parent);
    sqlite3_bind_int64(maker->insert, 3, maker->version);
    sqlite3_bind_int64(maker->insert, 4, 1);
    sqlite3_bind_int64(maker->insert, 5, MTIME + inode);
    sqlite3_bind_int64(maker->insert, 6, type);
    sqlite3_bind_text(maker->insert, 7, name, -1, SQLITE_STATIC);
    if (size > 0)
        sqlite3_bind_blob(maker->insert, 8, data, size, SQLITE_STATIC);
    else
        sqlite3_bind_null(maker->insert, 8);
    sqlite3_step(maker->insert);
    maker->failed |= sqlite3_reset(maker->insert) != SQLITE_OK;
    return inode;
}

static int64_t add_directory(struct maker *maker, int64_t parent, const char *name)
{
    return add(maker, parent, ENTRY_DIRECTORY, name, NULL, 0);
}

static void add_text(struct maker *maker, int64_t parent, const char *name, const char *text)
{
    add(maker, parent, ENTRY_FILE, name, text, (int)strlen(text));
}

/* A configuration as Proxmox VE writes it, and a description in comments that fills `size` bytes.
 */
static void write_guest(GString *text, int id, size_t size)
{
    g_string_printf(text,
                    "agent: 1\nboot: order=scsi0;net0\ncores: %d\nmemory: %d\nname: guest-%d\n"
                    "net0: virtio=BC:24:11:%02X:%02X:%02X,bridge=vmbr0,firewall=1\n"
                    "onboot: 1\nostype: l26\nscsi0: local-lvm:vm-%d-disk-0,size=%dG\n"
                    "scsihw: virtio-scsi-single\nsockets: 1\n",
                    1 + id % 8, 512 << (id % 6), id, (id >> 16) & 255, (id >> 8) & 255, id & 255,
                    id, 8 + id % 120);
    while (text->len < size)
        g_string_append_printf(text, "#line %zu of what somebody noted about guest %d\n", text->len,
                               id);
    g_string_truncate(text, size);
    if (size > 0)
        text->str[size - 1] = '\n';
}

static void show_progress(const struct wish *wish, int done)
{
    int filled =
        wish->files > 0 ? (int)((int64_t)done * PROGRESS_WIDTH / wish->files) : PROGRESS_WIDTH;

    if (wish->quiet || !isatty(STDERR_FILENO))
        return;
    fprintf(stderr, "\r[%.*s%*s] %d of %d guests", filled,
            "##################################################", PROGRESS_WIDTH - filled, "", done,
            wish->files);
    if (done == wish->files)
        fputc('\n', stderr);
}

/* nodes/nodeN/{qemu-server,lxc,priv}; gives the inodes of the qemu-server directories. */
static int64_t *add_nodes(struct maker *maker, int count)
{
    int64_t *directories = g_new(int64_t, count);
    int64_t nodes = add_directory(maker, 0, "nodes");

    for (int i = 0; i < count; i++) {
        g_autofree char *name = g_strdup_printf("node%d", i + 1);
        int64_t node = add_directory(maker, nodes, name);
        directories[i] = add_directory(maker, node, "qemu-server");
        add_directory(maker, node, "lxc");
        add_directory(maker, node, "priv");
    }
    return directories;
}

static void add_rows(struct maker *maker, const struct wish *wish)
{
    g_autofree int64_t *directories = add_nodes(maker, wish->nodes);
    int64_t priv = add_directory(maker, 0, "priv");
    GString *text = g_string_sized_new((gsize)wish->size + 1);

    add_directory(maker, priv, "lock");
    add_text(maker, 0, "datacenter.cfg", "keyboard: en-us\n");
    add_text(maker, 0, "storage.cfg",
             "dir: local\n\tpath /var/lib/vz\n\tcontent iso,vztmpl,backup\n\n"
             "lvmthin: local-lvm\n\tthinpool data\n\tvgname pve\n\tcontent rootdir,images\n");
    add_text(maker, 0, "user.cfg", "user:root@pam:1:0:::root@example.com::\n");
    for (int i = 0; i < wish->files && !maker->failed; i++) {
        g_autofree char *name = g_strdup_printf("%d.conf", FIRST_GUEST + i);
        write_guest(text, FIRST_GUEST + i, (size_t)wish->size);
        add(maker, directories[i % wish->nodes], ENTRY_FILE, name, text->str, wish->size);
        if (i % 200 == 0 || i + 1 == wish->files)
            show_progress(wish, i + 1);
    }
    g_string_free(text, TRUE);
}

/* Row 0: the global version. */
static void add_version(struct maker *maker)
{
    sqlite3_bind_int64(maker->insert, 1, 0);
    sqlite3_bind_int64(maker->insert, 2, 0);
    sqlite3_bind_int64(maker->insert, 6, ENTRY_FILE);
    sqlite3_bind_text(maker->insert, 7, "__version__", -1, SQLITE_STATIC);
    sqlite3_bind_null(maker->insert, 8);
    sqlite3_step(maker->insert);
    maker->failed |= sqlite3_reset(maker->insert) != SQLITE_OK;
}

/* In one transaction without a journal: a half-made database is thrown away anyhow. */
static int fill(const char *path, const struct wish *wish)
{
    struct maker maker = {.version = 1};

    if (sqlite3_open_v2(path, &maker.db, SQLITE_OPEN_READWRITE, NULL) != SQLITE_OK ||
        sqlite3_exec(maker.db, "PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; BEGIN", NULL, NULL,
                     NULL) != SQLITE_OK ||
        sqlite3_prepare_v2(maker.db, "INSERT INTO tree VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)", -1,
                           &maker.insert, NULL) != SQLITE_OK)
        maker.failed = true;
    if (!maker.failed)
        add_rows(&maker, wish);
    if (!maker.failed)
        add_version(&maker);
    sqlite3_finalize(maker.insert);
    if (maker.failed ||
        sqlite3_exec(maker.db, "COMMIT; PRAGMA journal_mode=WAL", NULL, NULL, NULL) != SQLITE_OK) {
        fprintf(stderr, "make_database: %s: %s\n", path, sqlite3_errmsg(maker.db));
        maker.failed = true;
    }
    sqlite3_close(maker.db);
    return maker.failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

static int make(const char *path, const struct wish *wish)
{
    g_autofree char *message = NULL;

    if (wish->files < 0 || wish->size < 0 || wish->size > (int)FILE_SIZE_MAX || wish->nodes < 1) {
        fprintf(stderr, "make_database: impossible numbers\n");
        return EXIT_FAILURE;
    }
    if (file_require_absent(path, &message) < 0 || file_create(path, NULL, &message) < 0) {
        fprintf(stderr, "make_database: %s\n", message);
        return EXIT_FAILURE;
    }
    int result = fill(path, wish);
    if (result != EXIT_SUCCESS)
        unlink(path);
    return result;
}

int main(int argc, char **argv)
{
    struct wish wish = {.files = 20000, .size = 6144, .nodes = 8};
    const GOptionEntry entries[] = {
        {"files", 'n', 0, G_OPTION_ARG_INT, &wish.files, "guest configurations (20000)", "N"},
        {"size", 's', 0, G_OPTION_ARG_INT, &wish.size, "bytes of each (6144)", "BYTES"},
        {"nodes", 0, 0, G_OPTION_ARG_INT, &wish.nodes, "nodes that they are spread over (8)", "N"},
        {"quiet", 'q', 0, G_OPTION_ARG_NONE, &wish.quiet, "no progress bar", NULL},
        {NULL, 0, 0, 0, NULL, NULL, NULL},
    };
    g_autoptr(GOptionContext) context = g_option_context_new("PATH");
    g_autoptr(GError) error = NULL;

    g_option_context_set_summary(
        context,
        "Makes the database PATH, which must not exist, with guests from number 100 on at\n"
        "nodes/nodeN/qemu-server/ID.conf.");
    g_option_context_add_main_entries(context, entries, NULL);
    if (!g_option_context_parse(context, &argc, &argv, &error) || argc != 2) {
        fprintf(stderr, "make_database: %s\n", error ? error->message : "one PATH is needed");
        return EXIT_FAILURE;
    }
    return make(argv[1], &wish);
}
