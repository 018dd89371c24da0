/* SPDX-License-Identifier: GPL-3.0-or-later */
/* SHA-256 digests of entries, locks and whole trees (doc/cluster.md). */
#include "core/digest.h"

#include <glib.h>
#include <openssl/evp.h>

#include "base/util.h"

#define FIELDS_SIZE 29u /* version, writer, mtime, size, type (one byte), parent */

static void G_GNUC_NORETURN fail(void)
{
    g_error("SHA-256 is not available: out of memory, or libcrypto is misconfigured");
}

/* libcrypto's, looked up once for the process: EVP_sha256() makes it be looked up for each digest,
 * which takes longer than the digest of a small entry. */
static const EVP_MD *sha256(void)
{
    static EVP_MD *found;

    if (g_once_init_enter(&found)) {
        EVP_MD *algorithm = EVP_MD_fetch(NULL, "SHA256", NULL);
        if (!algorithm)
            fail();
        g_once_init_leave(&found, algorithm);
    }
    return found;
}

void digest_init(void)
{
    sha256();
}

void bytes_digest(const void *data, size_t size, uint8_t digest[DIGEST_SIZE])
{
    if (EVP_Digest(data, size, digest, NULL, sha256(), NULL) != 1)
        fail();
}

static EVP_MD_CTX *hash_begin(void)
{
    EVP_MD_CTX *hash = EVP_MD_CTX_new();

    if (!hash || EVP_DigestInit_ex(hash, sha256(), NULL) != 1)
        fail();
    return hash;
}

static void hash_end(EVP_MD_CTX *hash, uint8_t digest[DIGEST_SIZE])
{
    EVP_DigestFinal_ex(hash, digest, NULL);
    EVP_MD_CTX_free(hash);
}

static void hash_inode(EVP_MD_CTX *hash, uint64_t inode)
{
    uint8_t bytes[8];

    put_le64(bytes, inode);
    EVP_DigestUpdate(hash, bytes, sizeof(bytes));
}

static void hash_entry(EVP_MD_CTX *hash, const struct entry *entry)
{
    uint8_t fields[FIELDS_SIZE];

    put_le64(fields, entry->version);
    put_le32(fields + 8, entry->writer);
    put_le32(fields + 12, entry->mtime);
    put_le32(fields + 16, entry->size);
    fields[20] = entry->type;
    put_le64(fields + 21, entry->parent);
    EVP_DigestUpdate(hash, fields, sizeof(fields));
    EVP_DigestUpdate(hash, entry->name, entry->name_length);
    if (entry->content)
        EVP_DigestUpdate(hash, entry->content->data, entry->size);
}

static void hash_root(EVP_MD_CTX *hash, const struct root *root)
{
    uint8_t fields[FIELDS_SIZE] = {0};

    put_le64(fields, root->version);
    put_le32(fields + 8, root->writer);
    put_le32(fields + 12, root->mtime);
    fields[20] = ENTRY_DIRECTORY;
    EVP_DigestUpdate(hash, fields, sizeof(fields));
}

const uint8_t *entry_digest(struct entry *entry)
{
    if (!entry->has_digest) {
        EVP_MD_CTX *hash = hash_begin();
        hash_entry(hash, entry);
        hash_end(hash, entry->digest);
        entry->has_digest = true;
    }
    return entry->digest;
}

void tree_forget_digests(struct tree *tree)
{
    GHashTableIter iter;
    gpointer entry;

    g_hash_table_iter_init(&iter, tree->entries);
    while (g_hash_table_iter_next(&iter, NULL, &entry))
        ((struct entry *)entry)->has_digest = false;
}

void root_digest(const struct root *root, uint8_t digest[DIGEST_SIZE])
{
    EVP_MD_CTX *hash = hash_begin();

    hash_root(hash, root);
    hash_end(hash, digest);
}

void lock_digest(const struct entry *entry, uint8_t digest[DIGEST_SIZE])
{
    EVP_MD_CTX *hash = hash_begin();

    hash_inode(hash, entry->inode);
    hash_entry(hash, entry);
    hash_end(hash, digest);
}

void tree_checksum(const struct tree *tree, uint8_t digest[DIGEST_SIZE])
{
    g_autoptr(GPtrArray) sorted = tree_sorted(tree);
    EVP_MD_CTX *hash = hash_begin();

    hash_inode(hash, 0);
    hash_root(hash, &tree->root);
    for (guint i = 0; i < sorted->len; i++) {
        const struct entry *entry = sorted->pdata[i];
        hash_inode(hash, entry->inode);
        hash_entry(hash, entry);
    }
    hash_end(hash, digest);
}
