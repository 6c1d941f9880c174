#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

// What OpenSSL has as macros only.

static inline int weft_tls_set_versions(SSL_CTX *context, int lowest, int highest) {
    return SSL_CTX_set_min_proto_version(context, lowest) && SSL_CTX_set_max_proto_version(context, highest);
}

/// No sessions are kept or resumed: each connection shows its certificate anew.
static inline void weft_tls_set_server_modes(SSL_CTX *context) {
    SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_TICKET | SSL_OP_NO_COMPRESSION |
                                     SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_IGNORE_UNEXPECTED_EOF);
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_num_tickets(context, 0);
    SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS);
}

static inline void weft_tls_set_client_modes(SSL_CTX *context) {
    SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_IGNORE_UNEXPECTED_EOF);
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS);
}

static inline int weft_tls_set_server_name(SSL *session, const char *name) {
    return (int)SSL_set_tlsext_host_name(session, name);
}

static inline int weft_tls_pending(BIO *bio) { return (int)BIO_pending(bio); }

static inline int weft_tls_certificates(const STACK_OF(X509) *chain) { return sk_X509_num(chain); }

static inline X509 *weft_tls_certificate(const STACK_OF(X509) *chain, int place) { return sk_X509_value(chain, place); }

/// If the newest error is that a file of PEM has no more blocks.
static inline int weft_tls_is_end_of_pem(void) {
    unsigned long error = ERR_peek_last_error();
    return ERR_GET_LIB(error) == ERR_LIB_PEM && ERR_GET_REASON(error) == PEM_R_NO_START_LINE;
}

static inline void weft_tls_free(void *memory) { OPENSSL_free(memory); }

/// What a certificate is for; to be freed. NULL when it does not say.
static inline GENERAL_NAMES *weft_tls_alternative_names(X509 *certificate) {
    return X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);
}

static inline int weft_tls_name_count(const GENERAL_NAMES *names) { return sk_GENERAL_NAME_num(names); }

/// The bytes of a name of a host, of an address or of a URI, and which of them it is; NULL for all others.
static inline const unsigned char *weft_tls_name(const GENERAL_NAMES *names, int place, int *kind, int *count) {
    const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, place);
    const ASN1_STRING *text = NULL;
    *kind = name->type;
    if (name->type == GEN_DNS) text = name->d.dNSName;
    if (name->type == GEN_IPADD) text = name->d.iPAddress;
    if (name->type == GEN_URI) text = name->d.uniformResourceIdentifier;
    if (text == NULL) return NULL;
    *count = ASN1_STRING_length(text);
    return ASN1_STRING_get0_data(text);
}

#include "certificates.h"
