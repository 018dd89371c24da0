/* SPDX-License-Identifier: GPL-3.0-or-later */
/* pmxcfsctl doctor: locks, certificates, and clocks. */
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <string.h>
#include <time.h>

#include "ctl/ask.h"
#include "ctl/db.h"
#include "ctl/doctor.h"
#include "ctl/locks.h"

#define SOON_DAYS 30
#define CLOCK_SECONDS 5   /* messages take less */
#define FUTURE_SECONDS 60 /* the same for what is stored */

/* ---- Locks ---- */

void doctor_check_locks(struct doctor *doctor)
{
    g_autoptr(GPtrArray) expired = g_ptr_array_new_with_free_func(g_free);
    json_t *lock;
    size_t i;

    json_array_foreach(doctor->locks, i, lock)
    {
        if (!field_bool(lock, "expired"))
            continue;
        g_autofree char *holder = locks_holder(lock);
        g_ptr_array_add(expired, g_strdup_printf("%s of %s (%s)", field_text(lock, "path"),
                                                 field_text(lock, "node"), holder));
    }
    if (expired->len == 0)
        return;
    g_autofree char *list = doctor_list(expired);
    doctor_add(
        doctor,
        (struct doctor_finding){
            .severity = DOCTOR_WARNING,
            .what = g_strdup_printf("%u %s expired: %s", expired->len,
                                    expired->len == 1 ? "lock has" : "locks have", list),
            .why =
                g_strdup("Whoever held them died or hangs. They are in nobody's way: who asks for "
                         "an expired lock has it."),
            .command = g_strdup("pmxcfsctl locks\npmxcfsctl locks break --expired"),
            .risk = g_strdup("If the process that held one only hangs, it believes that it has it "
                             "still: see that it is gone."),
        });
}

/* ---- Certificates ---- */

struct certificate {
    char *path;
    int days;  /* until it expires, rounded down; 0: less than a day */
    bool over; /* it has expired, `days` ago */
    bool bad;  /* it cannot be read */
};

/* The first certificate of a file is the host's own. */
static void read_certificate(struct certificate *certificate, const struct entry *entry)
{
    BIO *bio = BIO_new_mem_buf(entry->content ? entry->content->data : (const uint8_t *)"",
                               entry->content ? (int)entry->size : 0);
    X509 *x509 = bio ? PEM_read_bio_X509(bio, NULL, NULL, NULL) : NULL;
    int days = 0;
    int seconds = 0;

    certificate->bad =
        !x509 || ASN1_TIME_diff(&days, &seconds, NULL, X509_get0_notAfter(x509)) != 1;
    certificate->over = days < 0 || seconds < 0;
    certificate->days = abs(days);
    X509_free(x509);
    BIO_free(bio);
}

/* pve-root-ca.pem, and nodes/NODE/pve-ssl.pem, pveproxy-ssl.pem. */
static bool is_certificate(const char *path)
{
    g_auto(GStrv) parts = g_strsplit(path, "/", 4);
    guint count = g_strv_length(parts);

    if (count == 1)
        return strcmp(path, "pve-root-ca.pem") == 0;
    return count == 3 && strcmp(parts[0], "nodes") == 0 &&
           (strcmp(parts[2], "pve-ssl.pem") == 0 || strcmp(parts[2], "pveproxy-ssl.pem") == 0);
}

static char *how_to_renew(const struct doctor *doctor, const char *path)
{
    const char *renew = "pvecm updatecerts --force\nsystemctl restart pveproxy";
    const char *own = doctor_node_name(doctor);
    g_auto(GStrv) parts = g_strsplit(path, "/", 4);

    if (strcmp(path, "pve-root-ca.pem") == 0)
        return g_strdup_printf("cp -a %s/pve-root-ca.pem %s/priv/pve-root-ca.key /root/\n"
                               "rm %s/pve-root-ca.pem %s/priv/pve-root-ca.key\n%s",
                               doctor->options->mountpoint, doctor->options->mountpoint,
                               doctor->options->mountpoint, doctor->options->mountpoint, renew);
    if (g_str_has_suffix(path, "pveproxy-ssl.pem"))
        renew = "pvenode acme cert renew --force";
    if (own && strcmp(parts[1], own) == 0)
        return g_strdup(renew);
    return g_strdup_printf("ssh %s '%s'", parts[1],
                           g_str_has_prefix(renew, "pvenode")
                               ? renew
                               : "pvecm updatecerts --force && systemctl restart pveproxy");
}

static const char *renewal_risk(const char *path)
{
    if (strcmp(path, "pve-root-ca.pem") == 0)
        return "All nodes need new certificates then: give the last two commands on each. Browsers "
               "and backups that know the old one have to trust the new one.";
    if (g_str_has_suffix(path, "pveproxy-ssl.pem"))
        return "One that did not come from ACME you have to get anew, and upload.";
    return "Sessions of the web interface are interrupted for a second; who has noted the "
           "fingerprint has to note the new one.";
}

static void tell_certificate(struct doctor *doctor, const struct certificate *certificate)
{
    const char *path = certificate->path;

    doctor_add(
        doctor,
        (struct doctor_finding){
            .severity = certificate->over && !certificate->bad ? DOCTOR_CRITICAL : DOCTOR_WARNING,
            .what = certificate->bad ? g_strdup_printf("%s is no certificate", path)
                    : certificate->over
                        ? g_strdup_printf("the certificate %s has expired %d days ago", path,
                                          certificate->days)
                        : g_strdup_printf("the certificate %s expires in %d days", path,
                                          certificate->days),
            .why = g_strdup(
                "Web interface, migration, and other nodes refuse a host whose certificate "
                "has expired."),
            .command = how_to_renew(doctor, path),
            .risk = g_strdup(renewal_risk(path)),
        });
}

void doctor_check_certificates(struct doctor *doctor)
{
    g_autoptr(GPtrArray) entries = doctor->tree ? tree_sorted(doctor->tree) : NULL;

    for (guint i = 0; entries && i < entries->len; i++) {
        const struct entry *entry = entries->pdata[i];
        g_autofree char *path =
            entry_is_directory(entry) ? NULL : tree_path(doctor->tree, entry->inode);
        struct certificate certificate = {.path = path};
        if (!path || !is_certificate(path))
            continue;
        read_certificate(&certificate, entry);
        if (certificate.bad || certificate.over || certificate.days < SOON_DAYS)
            tell_certificate(doctor, &certificate);
    }
}

/* ---- Clocks ---- */

static void tell_clock(struct doctor *doctor, const char *name, long long ahead)
{
    doctor_add(
        doctor,
        (struct doctor_finding){
            .severity = DOCTOR_WARNING,
            .what = g_strdup_printf("the clock of %s is %lld s %s this node's", name,
                                    ahead < 0 ? -ahead : ahead, ahead < 0 ? "behind" : "ahead of"),
            .why =
                g_strdup("By the times of its messages. Locks, tickets of logins, and certificates "
                         "are judged by clocks; at 120 s locks are lost."),
            .command =
                g_strdup_printf("timedatectl; chronyc tracking\nssh %s 'timedatectl; chronyc "
                                "tracking'",
                                name),
            .risk =
                g_strdup("None, they show which of both is wrong. Then: systemctl restart chrony "
                         "on that one; setting a clock back by hand can make files look newer "
                         "than now."),
        });
}

static void tell_future(struct doctor *doctor, long long ahead)
{
    g_autofree char *last = db_time_shown(doctor->tree->root.mtime);

    doctor_add(doctor,
               (struct doctor_finding){
                   .severity = DOCTOR_WARNING,
                   .what = g_strdup_printf(
                       "the last change in the database is from the future: %s, %lld s "
                       "from now",
                       last, ahead),
                   .why = g_strdup(
                       "This host's clock is behind, or that of the node that made it was ahead."),
                   .command = g_strdup("timedatectl; chronyc tracking"),
                   .risk = g_strdup("none, it only shows"),
               });
}

void doctor_check_clocks(struct doctor *doctor)
{
    json_t *member;
    size_t i;

    if (doctor->tree) {
        long long ahead = (long long)doctor->tree->root.mtime - (long long)time(NULL);
        if (ahead > FUTURE_SECONDS)
            tell_future(doctor, ahead);
    }
    json_array_foreach(json_object_get(doctor->overview, "group"), i, member)
    {
        long long ahead = (long long)field_number(member, "clock_offset");
        if (ahead >= CLOCK_SECONDS || ahead <= -CLOCK_SECONDS)
            tell_clock(doctor, field_text(member, "name"), ahead);
    }
}
