//! Secrets that their issuer made recognisable: a fixed beginning and an alphabet.
//!
//! The list of kinds follows today's kept rule sets (gitleaks and its successor betterleaks, detect-secrets, GitHub's partner patterns);
//! lengths are lower bounds, because logs cut tokens off. What begins like a token but goes on in words
//! (`sk-orders-daily-load`) is a name: [`super::values::is_random`] has to agree.

/// How a token begins, without regard to case when it is searched for and exactly when it is compared; and how it goes on.
pub(super) const TOKENS: &[(&str, &str)] = &[
    // Identity
    ("eyJ", r"[A-Za-z0-9_-]{4,}(?:\.[A-Za-z0-9_-]*){1,4}"), // JWT
    ("eyJhbGciOi", r"[A-Za-z0-9_-]*"),
    ("eyJ0eXAiOi", r"[A-Za-z0-9_-]*"),
    ("ZXlK", r"[A-Za-z0-9+/_-]{40,}={0,2}"), // a JWT in base64
    ("ya29.", r"[A-Za-z0-9_-]{20,}"),        // Google
    ("AIza", r"[A-Za-z0-9_-]{30,}"),
    ("GOCSPX-", r"[A-Za-z0-9_-]{16,}"),
    ("1//0", r"[A-Za-z0-9_-]{30,}"),
    ("0.A", r"[A-Za-z0-9_-]{60,}(?:\.[A-Za-z0-9_-]+)*"), // Entra refresh tokens
    ("1.A", r"[A-Za-z0-9_-]{60,}(?:\.[A-Za-z0-9_-]+)*"),
    ("M.C", r"[0-9]{2,3}_[A-Za-z0-9!*$._-]{30,}"),
    ("ops_eyJ", r"[A-Za-z0-9+/_-]{20,}={0,3}"), // 1Password
    ("A3-", r"[A-Z0-9]{6}-[A-Z0-9]{6,11}(?:-[A-Z0-9]{5}){2,4}"),
    ("AGE-SECRET-KEY-1", r"[A-Z0-9]{20,}"),
    // Clouds
    ("AKIA", r"[A-Z2-7]{12,}"), // AWS
    ("ASIA", r"[A-Z2-7]{12,}"),
    ("ABIA", r"[A-Z2-7]{12,}"),
    ("ACCA", r"[A-Z2-7]{12,}"),
    ("ABSK", r"[A-Za-z0-9+/]{40,}={0,2}"),
    ("bedrock-api-key-", r"[A-Za-z0-9+/]{16,}={0,2}"),
    ("LTAI", r"[A-Za-z0-9]{12,}"), // Alibaba
    ("STS.", r"[A-Za-z0-9]{16,}"),
    ("doo_v1_", r"[a-f0-9]{16,}"), // DigitalOcean
    ("dop_v1_", r"[a-f0-9]{16,}"),
    ("dor_v1_", r"[a-f0-9]{16,}"),
    ("HRKU-", r"[A-Za-z0-9_-]{20,}"), // Heroku
    ("ucat_", r"[A-Za-z0-9]{20,}"),   // UpCloud
    ("tk-us-", r"[A-Za-z0-9_-]{20,}"),
    ("t1.", r"[A-Za-z0-9_-]{10,}={0,2}\.[A-Za-z0-9_-]{30,}={0,2}"), // Yandex
    ("AQVN", r"[A-Za-z0-9_-]{30,}"),
    ("YC", r"[A-Za-z0-9_-]{38}"),
    ("rnd_", r"[A-Za-z0-9]{20,}"),
    ("cfut_", r"[A-Za-z0-9]{20,}"), // Cloudflare
    ("cfat_", r"[A-Za-z0-9]{20,}"),
    ("v1.0-", r"[a-f0-9]{24}-[a-f0-9]{20,}"),
    ("fo1_", r"[A-Za-z0-9_-]{20,}"), // Fly.io
    ("fm1a_", r"[A-Za-z0-9+/=_-]{20,}"),
    ("fm1r_", r"[A-Za-z0-9+/=_-]{20,}"),
    ("fm2_", r"[A-Za-z0-9+/=_-]{20,}"),
    ("vcp_", r"[A-Za-z0-9_-]{20,}"), // Vercel
    ("vck_", r"[A-Za-z0-9_-]{20,}"),
    ("vca_", r"[A-Za-z0-9_-]{20,}"),
    ("vcr_", r"[A-Za-z0-9_-]{20,}"),
    ("vci_", r"[A-Za-z0-9_-]{20,}"),
    ("sbp_", r"[A-Za-z0-9_-]{20,}"), // Supabase
    ("sb_secret_", r"[A-Za-z0-9_-]{16,}"),
    ("napi_", r"[A-Za-z0-9]{30,}"), // Neon
    ("CCDB1_", r"[A-Za-z0-9_]{20,}"),
    ("pscale_tkn_", r"[A-Za-z0-9_=.-]{16,}"), // PlanetScale
    ("pscale_oauth_", r"[A-Za-z0-9_=.-]{16,}"),
    ("pscale_pw_", r"[A-Za-z0-9_=.-]{16,}"),
    ("AstraCS:", r"[A-Za-z0-9:]{16,}"),
    ("mdb_sa_sk_", r"[A-Za-z0-9_-]{20,}"),
    ("essu_", r"[A-Za-z0-9_-]{30,}={0,2}"),
    ("4b1d", r"[A-Za-z0-9]{38}"),    // ClickHouse
    ("hvs.", r"[A-Za-z0-9_-]{16,}"), // Vault
    ("hvb.", r"[A-Za-z0-9_-]{16,}"),
    ("hvr.", r"[A-Za-z0-9_-]{16,}"),
    ("s.", r"[A-Za-z0-9]{24}"),
    ("pul-", r"[a-f0-9]{20,}"),
    ("ico-", r"[A-Za-z0-9]{20,}"),
    ("sha256~", r"[A-Za-z0-9_-]{30,}"), // OpenShift
    ("SWMTKN-1-", r"[a-z0-9-]{30,}"),
    ("SWMKEY-1-", r"[A-Za-z0-9+/]{30,}"),
    ("tskey-", r"[A-Za-z0-9-]{16,}"),
    ("dnkey-", r"[A-Za-z0-9=_-]{20,}"),
    // Data platforms
    ("dapi", r"[0-9a-z]{16,}(?:-[0-9]+)?"), // Databricks
    ("dose", r"[0-9a-z]{16,}(?:-[0-9]+)?"),
    ("dkea", r"[0-9a-z]{16,}(?:-[0-9]+)?"),
    ("dsapi", r"[0-9a-z]{16,}(?:-[0-9]+)?"),
    ("gAAAAA", r"[A-Za-z0-9_-]{20,}={0,2}"), // Fernet
    ("dbtc_", r"[A-Za-z0-9_-]{16,}"),        // dbt
    ("dbtu_", r"[A-Za-z0-9_-]{16,}"),
    ("pnu_", r"[A-Za-z0-9]{20,}"), // Prefect
    ("pnb_", r"[A-Za-z0-9]{20,}"),
    ("db-", r"[A-Za-z0-9]{29}"),
    ("wandb_v1_", r"[A-Za-z0-9_]{20,}"),
    ("apify_api_", r"[A-Za-z0-9]{20,}"),
    // Code and packages
    ("ghp_", r"[A-Za-z0-9]{16,}"),
    ("gho_", r"[A-Za-z0-9]{16,}"),
    ("ghu_", r"[A-Za-z0-9]{16,}"),
    ("ghs_", r"[A-Za-z0-9]{16,}"),
    ("ghr_", r"[A-Za-z0-9]{16,}"),
    ("github_pat_", r"[A-Za-z0-9_]{16,}"),
    ("glpat-", r"[A-Za-z0-9_.-]{16,}"),
    ("glptt-", r"[A-Za-z0-9_-]{16,}"),
    ("gldt-", r"[A-Za-z0-9_-]{16,}"),
    ("glft-", r"[A-Za-z0-9_-]{16,}"),
    ("glcbt-", r"[A-Za-z0-9_-]{16,}"),
    ("glffct-", r"[A-Za-z0-9_-]{16,}"),
    ("glimt-", r"[A-Za-z0-9_-]{16,}"),
    ("glagent-", r"[A-Za-z0-9_-]{16,}"),
    ("gloas-", r"[A-Za-z0-9_-]{16,}"),
    ("glrt-", r"[A-Za-z0-9_.-]{16,}"),
    ("glrtr-", r"[A-Za-z0-9_.-]{16,}"),
    ("glsoat-", r"[A-Za-z0-9_-]{16,}"),
    ("GR1348941", r"[A-Za-z0-9_-]{16,}"),
    ("npm_", r"[A-Za-z0-9]{20,}"),
    ("pypi-", r"[A-Za-z0-9_-]{20,}"),
    ("rubygems_", r"[a-f0-9]{20,}"),
    ("CLOJARS_", r"[A-Za-z0-9]{20,}"),
    ("oy2", r"[a-z0-9]{43}"), // NuGet
    ("cio", r"[A-Za-z0-9]{32}"),
    ("dckr_pat_", r"[A-Za-z0-9_-]{16,}"),
    ("dckr_oat_", r"[A-Za-z0-9_-]{16,}"),
    ("packagist_", r"[a-z]{3}_[0-9a-f]{20,}"),
    ("csa_", r"[A-Za-z0-9]{30,}"),
    ("AKCp", r"[A-Za-z0-9]{40,}"), // Artifactory
    ("cmVmd", r"[A-Za-z0-9]{40,}"),
    ("ATATT", r"[A-Za-z0-9_=.-]{8,}"), // Atlassian
    ("ATCTT", r"[A-Za-z0-9_=.-]{8,}"),
    ("ATBB", r"[A-Za-z0-9_=.-]{20,}"),
    ("BBDC-", r"[A-Za-z0-9+/=]{20,}"),
    ("CCIPAT_", r"[A-Za-z0-9_]{20,}"), // CircleCI
    ("CCIPRJ_", r"[A-Za-z0-9_]{20,}"),
    ("bkua_", r"[a-z0-9]{20,}"), // Buildkite
    ("API-", r"[A-Z0-9]{26,}"),  // Octopus
    ("sgp_", r"[A-Za-z0-9_]{32,}"),
    ("slk_", r"[a-f0-9]{32,}"),
    ("squ_", r"[a-f0-9]{30,}"), // Sonar
    ("sqp_", r"[a-f0-9]{30,}"),
    ("sqa_", r"[a-f0-9]{30,}"),
    ("PMAK-", r"[A-Za-z0-9-]{20,}"), // Postman
    ("PMAT-", r"[A-Za-z0-9-]{20,}"),
    ("dp.", r"(?:pt|st|sa|ct|scim|audit)\.[A-Za-z0-9_.]{20,}"), // Doppler
    (
        "pat.",
        r"[A-Za-z0-9_-]{22}\.[A-Za-z0-9]{24}\.[A-Za-z0-9]{20}",
    ), // Harness
    ("ddp_", r"[A-Za-z0-9]{30,}"),
    ("ddo_", r"[A-Za-z0-9]{30,}"),
    ("mergify_application_key_", r"[A-Za-z0-9_-]{20,}"),
    ("rdme_", r"[a-z0-9]{40,}"),
    ("AIK_SECRET_", r"[A-Za-z0-9]{20,}"),
    // Monitoring
    ("glc_", r"[A-Za-z0-9+/]{30,}={0,2}"), // Grafana
    ("glsa_", r"[A-Za-z0-9_]{20,}"),
    ("eyJrIjoi", r"[A-Za-z0-9+/_-]{20,}={0,3}"),
    ("NRAK-", r"[A-Z0-9]{20,}"), // New Relic
    ("NRII-", r"[A-Za-z0-9-]{20,}"),
    ("NRIQ-", r"[A-Za-z0-9-]{20,}"),
    ("NRJS-", r"[a-f0-9]{15,}"),
    ("dt0c01.", r"[A-Za-z0-9]{16,}\.[A-Za-z0-9]{20,}"), // Dynatrace
    ("dt0s01.", r"[A-Za-z0-9]{8,}\.[A-Za-z0-9]{20,}"),
    ("dt0s16.", r"[A-Za-z0-9]{8,}\.[A-Za-z0-9]{20,}"),
    ("sntrys_", r"[A-Za-z0-9+/=_-]{20,}"), // Sentry
    ("sntryu_", r"[a-f0-9]{20,}"),
    ("hcaik_", r"[a-z0-9_]{30,}"), // Honeycomb
    ("hcxik_", r"[a-z0-9_]{30,}"),
    ("phx_", r"[A-Za-z0-9_-]{30,}"),
    (
        "sdk-",
        r"[a-f0-9]{8}-[a-f0-9]{4}-[a-f0-9]{4}-[a-f0-9]{4}-[a-f0-9]{12}",
    ), // LaunchDarkly
    (
        "mob-",
        r"[a-f0-9]{8}-[a-f0-9]{4}-[a-f0-9]{4}-[a-f0-9]{4}-[a-f0-9]{12}",
    ),
    (
        "api-",
        r"[a-f0-9]{8}-[a-f0-9]{4}-[a-f0-9]{4}-[a-f0-9]{4}-[a-f0-9]{12}",
    ),
    ("configcat-sdk-1/", r"[A-Za-z0-9_/-]{20,}"),
    ("rootly_", r"[a-f0-9]{30,}"),
    ("u+", r"[A-Za-z0-9_-]{18}"), // PagerDuty
    // Messages and mail
    ("xox", r"[a-z][.-][A-Za-z._-]*[0-9][A-Za-z0-9._/+%-]{4,}"), // Slack
    ("xapp-", r"[A-Za-z0-9-]{4,}"),
    ("SG.", r"[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}"),
    ("xkeysib-", r"[A-Za-z0-9-]{20,}"),
    ("xsmtpsib-", r"[A-Za-z0-9-]{20,}"),
    ("key-", r"[a-f0-9]{32}"), // Mailgun
    ("pubkey-", r"[a-f0-9]{32}"),
    ("mlsn.", r"[a-f0-9]{30,}"),
    ("re_", r"[A-Za-z0-9]{8}_[A-Za-z0-9]{24}"),
    ("SK", r"[0-9a-fA-F]{32}"), // Twilio
    ("AC", r"[0-9a-f]{32}"),
    ("nyk_", r"[A-Za-z0-9]{30,}"),
    ("lin_api_", r"[A-Za-z0-9]{20,}"),
    ("lin_oauth_", r"[A-Za-z0-9]{20,}"),
    ("ntn_", r"[A-Za-z0-9]{30,}"), // Notion
    ("secret_", r"[A-Za-z0-9]{40,}"),
    ("pat", r"[A-Za-z0-9]{14}\.[a-f0-9]{40,}"), // Airtable
    ("figd_", r"[A-Za-z0-9_-]{20,}"),
    ("tfp_", r"[A-Za-z0-9_.=-]{30,}"),
    ("pina_", r"[A-Za-z0-9_-]{30,}"),
    ("EAA", r"[A-Za-z0-9]{40,}"), // Facebook
    ("fio-u-", r"[A-Za-z0-9_=-]{30,}"),
    ("sl.", r"[A-Za-z0-9_-]{60,}"), // Dropbox
    ("waka_", r"[A-Za-z0-9-]{30,}"),
    ("wrka", r"(?:[a-z]{2})?-eyJ[A-Za-z0-9_.-]{30,}"),
    ("os_v2_", r"(?:app|org)_[a-z2-7]{40,}"),
    // Money and shops
    ("sk_live_", r"[A-Za-z0-9]{10,}"), // Stripe
    ("sk_test_", r"[A-Za-z0-9]{10,}"),
    ("sk_prod_", r"[A-Za-z0-9]{10,}"),
    ("rk_live_", r"[A-Za-z0-9]{10,}"),
    ("rk_test_", r"[A-Za-z0-9]{10,}"),
    ("rk_prod_", r"[A-Za-z0-9]{10,}"),
    ("whsec_", r"[A-Za-z0-9+/=]{16,}"),
    ("sq0atp-", r"[A-Za-z0-9_-]{16,}"), // Square
    ("sq0csp-", r"[A-Za-z0-9_-]{16,}"),
    ("EAAA", r"[A-Za-z0-9_-]{40,}"),
    ("shpat_", r"[A-Fa-f0-9]{16,}"), // Shopify
    ("shpca_", r"[A-Fa-f0-9]{16,}"),
    ("shppa_", r"[A-Fa-f0-9]{16,}"),
    ("shpss_", r"[A-Fa-f0-9]{16,}"),
    ("shippo_live_", r"[A-Fa-f0-9]{16,}"),
    ("shippo_test_", r"[A-Fa-f0-9]{16,}"),
    ("rzp_live_", r"[A-Za-z0-9]{14,}"),
    ("rzp_test_", r"[A-Za-z0-9]{14,}"),
    ("FLWSECK", r"(?:_TEST)?-[A-Za-z0-9]{12,}(?:-X)?"),
    ("FLWPUBK", r"(?:_TEST)?-[A-Za-z0-9]{12,}(?:-X)?"),
    (
        "access-",
        r"(?:sandbox|development|production)-[0-9a-f-]{20,}",
    ), // Plaid
    ("EZAK", r"[A-Za-z0-9]{40,}"),
    ("EZTK", r"[A-Za-z0-9]{40,}"),
    ("duffel_", r"(?:test|live)_[A-Za-z0-9_=-]{20,}"),
    ("$aact_", r"[A-Za-z0-9_-]{20,}"),
    ("xnd_", r"(?:production|development)_[A-Za-z0-9]{20,}"),
    ("pdl_", r"(?:live|sdbx)_apikey_[A-Za-z0-9_]{20,}"),
    ("APP_USR-", r"[A-Za-z0-9-]{30,}"),
    // Models
    ("sk-", r"[A-Za-z0-9_-]{20,}"), // OpenAI, Anthropic, OpenRouter, DeepSeek, …
    ("gsk_", r"[A-Za-z0-9]{20,}"),
    ("xai-", r"[A-Za-z0-9_-]{20,}"),
    ("hf_", r"[A-Za-z0-9]{20,}"),
    ("api_org_", r"[A-Za-z0-9]{20,}"),
    ("r8_", r"[A-Za-z0-9]{20,}"),
    ("nvapi-", r"[A-Za-z0-9_-]{20,}"),
    ("pplx-", r"[A-Za-z0-9]{20,}"),
    ("lsv2_", r"(?:pt|sk)_[A-Za-z0-9_]{20,}"),
    ("llx-", r"[A-Za-z0-9]{30,}"),
    ("pcsk_", r"[A-Za-z0-9_]{20,}"),
    ("tvly-", r"[A-Za-z0-9_-]{20,}"),
    ("tgp_v1_", r"[A-Za-z0-9_-]{20,}"),
    ("csk-", r"[a-z0-9]{30,}"),
    ("fw_", r"[A-Za-z0-9]{22,}"),
    ("rpa_", r"[A-Za-z0-9]{30,}"),
    // Others
    ("sm_aat_", r"[A-Za-z0-9]{16,}"),
    ("sm_pat_", r"[A-Za-z0-9]{16,}"),
    ("sm_sat_", r"[A-Za-z0-9]{16,}"),
    ("p8e-", r"[A-Za-z0-9]{20,}"),
    ("lip_", r"[A-Za-z0-9]{16,}"),
    ("unkey_", r"[A-Za-z0-9]{20,}"),
    ("zpka_", r"[A-Za-z0-9_]{20,}"),
    ("samsara_api_", r"[A-Za-z0-9]{20,}"),
    ("s-s4t2", r"(?:ud|af)-[a-f0-9]{20,}"),
];
